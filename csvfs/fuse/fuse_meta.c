/* SPDX-License-Identifier: GPL-2.0-or-later */
/* FUSE requests that the coordinator answers. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/checked.h"
#include "util/err.h"

#define BLK 4096u
#define ROOT_VALID_S 86400u
#define BUF_BYTES (128u << 10) /* what programs should read and write at a time */

int64_t now_ns(void)
{
	return (int64_t)clock_real_ns();
}

static void fcall_done(struct node_call *call, int status, struct csvp_in *in)
{
	struct fcall *f = container_of(call, struct fcall, call);

	if (status)
		fuse_reply_err(f->req, err_to_errno(status));
	else
		f->reply(f, in);
	fcall_free(f);
}

void fcall_free(struct fcall *f)
{
	atomic_fetch_sub(&f->mount->nr_calls, 1);
	free(f->arg);
	free(f);
}

struct fcall *fcall_new(fuse_req_t req, enum csvp_op op,
	void (*reply)(struct fcall *f, struct csvp_in *in))
{
	struct fcall *f = calloc(1, sizeof(*f));

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	f->req = req;
	f->mount = fuse_req_userdata(req);
	fworker_self->nr_for_service++;
	atomic_fetch_add(&f->mount->nr_calls, 1);
	f->reply = reply;
	f->call.done = fcall_done;
	csvp_begin(&f->call.msg, op, 0, 0, 0);
	return f;
}

void fcall_send(struct fcall *f)
{
	node_call(f->mount->node, &f->call);
}

struct timespec to_timespec(struct le64 ns)
{
	int64_t v = (int64_t)le64_get(ns);
	struct timespec ts = { v / 1000000000, v % 1000000000 };

	if (ts.tv_nsec < 0) {
		ts.tv_nsec += 1000000000;
		ts.tv_sec--;
	}
	return ts;
}

/* What does not fit in 64 bits of ns becomes the first or last time that does, as with any file system:
 * the kernel does not know how far ours reach. */
static int64_t from_timespec(struct timespec ts)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)ts.tv_sec, 1000000000, &ns) ||
		__builtin_add_overflow(ns, (int64_t)ts.tv_nsec, &ns))
		return ts.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

void attr_to_stat(struct stat *st, const struct csvp_attr *a)
{
	*st = (struct stat){
		.st_ino = le64_get(a->ino),
		.st_mode = le32_get(a->mode),
		.st_nlink = le32_get(a->nlink),
		.st_uid = le32_get(a->uid),
		.st_gid = le32_get(a->gid),
		.st_rdev = le64_get(a->rdev),
		.st_size = (off_t)le64_get(a->size),
		.st_blksize = BUF_BYTES,
		.st_blocks = (blkcnt_t)(le64_get(a->nr_blks) * (BLK / 512)),
		.st_atim = to_timespec(a->atime_ns),
		.st_mtim = to_timespec(a->mtime_ns),
		.st_ctim = to_timespec(a->ctime_ns),
	};
}

/* No timeouts: another node may change it, and only the token tells (docs/DESIGN.md, 9). */
void attr_to_entry(struct fuse_entry_param *e, const struct csvp_attr *a)
{
	*e = (struct fuse_entry_param){ .ino = le64_get(a->ino), .generation = 1 };
	attr_to_stat(&e->attr, a);
}

static void reply_entry(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));
	struct fuse_entry_param e;

	if (!a) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	attr_to_entry(&e, a);
	fuse_reply_entry(f->req, &e);
}

uint32_t attr_valid_s(const struct csvp_attr *a, bool kept)
{
	return kept && le64_get(a->ino) == FUSE_ROOT_ID ? ROOT_VALID_S : 0;
}

static void reply_attr(struct fcall *f, struct csvp_in *in)
{
	bool kept = le32_get(in->hdr->flags) & CSVP_KEEP_ATTR;
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));
	struct stat st;

	if (!a) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	attr_to_stat(&st, a);
	fuse_reply_attr(f->req, &st, attr_valid_s(a, kept));
}

static void reply_ok(struct fcall *f, struct csvp_in *in)
{
	fuse_reply_err(f->req, 0);
}

/* The struct that LOOKUP, LINK and UNLINK share. */
static struct csvp_name *put_name(struct fcall *f, uint64_t dir, uint64_t arg, const char *name)
{
	uint32_t len = (uint32_t)strlen(name);
	struct csvp_name *body = csvp_put(&f->call.msg, sizeof(*body));

	if (body) {
		body->dir = le64_of(dir);
		body->arg = le64_of(arg);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->name_len = le32_of(len);
	}
	csvp_put_bytes(&f->call.msg, name, len);
	return f->call.msg.failed ? NULL :
				    (struct csvp_name *)(f->call.msg.data + sizeof(struct csvp_hdr));
}

static void fop_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fmount *m = fuse_req_userdata(req);
	struct fuse_entry_param e;
	struct csvp_attr attr;
	int status;

	if (node_meta_lookup(m->node, parent, name, &attr, &status)) {
		if (status) {
			fuse_reply_err(req, ENOENT);
			return;
		}
		attr_to_entry(&e, &attr);
		fuse_reply_entry(req, &e);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_LOOKUP, reply_entry);
	if (!f)
		return;
	put_name(f, parent, 0, name);
	fcall_send(f);
}

static void fop_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	fuse_reply_none(req);
}

static void fop_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	fuse_reply_none(req);
}

static void fop_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool statx = fworker_self->as == FUSE_AS_STATX;
	struct fmount *m = fuse_req_userdata(req);
	uint64_t read_ns = node_read_ns(m->node, ino);
	struct csvp_attr attr;
	struct stat st;

	if (node_meta_getattr(m->node, ino, &attr) && !node_atime_due(m->node, &attr, read_ns)) {
		attr_to_stat(&st, &attr);
		if (statx)
			fraw_answer_statx(req, &attr, true);
		else
			fuse_reply_attr(req, &st, attr_valid_s(&attr, true));
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_GETATTR, statx ? fraw_reply_statx : reply_attr);
	if (!f)
		return;
	struct csvp_getattr *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(ino);
		body->wrote_ns = le64_of(node_wrote_ns(f->mount->node, ino));
		body->read_ns = le64_of(read_ns);
		body->strict = le32_of(node_strictatime(m->node));
	}
	fcall_send(f);
}

static void fop_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
	struct fuse_file_info *fi)
{
	struct fcall *f = fcall_new(req, CSVP_SETATTR, reply_attr);
	int64_t now = now_ns();
	unsigned mask = CSV_SET_CTIME;

	if (!f)
		return;
	struct csvp_setattr *body = csvp_put(&f->call.msg, sizeof(*body));
	if (!body) {
		fcall_send(f);
		return;
	}
	if (to_set & FUSE_SET_ATTR_MODE)
		mask |= CSV_SET_MODE;
	if (to_set & FUSE_SET_ATTR_UID)
		mask |= CSV_SET_UID;
	if (to_set & FUSE_SET_ATTR_GID)
		mask |= CSV_SET_GID;
	if (to_set & FUSE_SET_ATTR_SIZE)
		mask |= CSV_SET_SIZE | CSV_SET_MTIME;
	if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW))
		mask |= CSV_SET_ATIME;
	if (mask & CSV_SET_ATIME)
		node_atime_set(f->mount->node, ino);
	if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW))
		mask |= CSV_SET_MTIME;
	bool mtime_given = (to_set & FUSE_SET_ATTR_MTIME) && !(to_set & FUSE_SET_ATTR_MTIME_NOW);
	bool atime_given = (to_set & FUSE_SET_ATTR_ATIME) && !(to_set & FUSE_SET_ATTR_ATIME_NOW);
	*body = (struct csvp_setattr){
		.ino = le64_of(ino),
		.mask = le32_of(mask),
		.mode = le32_of(st->st_mode),
		.uid = le32_of(st->st_uid),
		.gid = le32_of(st->st_gid),
		.size = le64_of((uint64_t)st->st_size),
		.atime_ns = le64_of((uint64_t)(atime_given ? from_timespec(st->st_atim) : now)),
		.mtime_ns = le64_of((uint64_t)(mtime_given ? from_timespec(st->st_mtim) : now)),
		.ctime_ns = le64_of((uint64_t)now),
	};
	f->call.modifies = true;
	fcall_send(f);
}

static void reply_readlink(struct fcall *f, struct csvp_in *in)
{
	char target[4096];
	uint32_t len = MIN(csvp_left(in), (uint32_t)sizeof(target) - 1);

	memcpy(target, csvp_get(in, len), len);
	target[len] = 0;
	fuse_reply_readlink(f->req, target);
}

static void fop_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct fcall *f = fcall_new(req, CSVP_READLINK, reply_readlink);

	if (!f)
		return;
	struct csvp_ino *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		body->ino = le64_of(ino);
	fcall_send(f);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
	const char *target)
{
	struct fcall *f = fcall_new(req, CSVP_CREATE, reply_entry);

	if (!f)
		return;
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	uint32_t len = (uint32_t)strlen(name), target_len = target ? (uint32_t)strlen(target) : 0;
	struct csvp_create *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->dir = le64_of(parent);
		body->mode = le32_of(mode);
		body->uid = le32_of(ctx->uid);
		body->gid = le32_of(ctx->gid);
		body->rdev = le64_of(rdev);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->name_len = le32_of(len);
		body->target_len = le32_of(target_len);
		body->umask = le32_of(ctx->umask);
	}
	csvp_put_bytes(&f->call.msg, name, len);
	csvp_put_bytes(&f->call.msg, target, target_len);
	f->call.modifies = true;
	fcall_send(f);
}

static void fop_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	make(req, parent, name, mode & S_IFMT ? mode : S_IFREG | mode, rdev, NULL);
}

static void fop_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | (mode & 07777), 0, NULL);
}

static void fop_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, 0, target);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool dir)
{
	struct fcall *f = fcall_new(req, CSVP_UNLINK, reply_ok);

	if (!f)
		return;
	put_name(f, parent, dir, name);
	f->call.modifies = true;
	fcall_send(f);
}

static void fop_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

static void fop_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

static void fop_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
	const char *newname, unsigned int flags)
{
	struct fcall *f = fcall_new(req, CSVP_RENAME, reply_ok);

	if (!f)
		return;
	uint32_t len = (uint32_t)strlen(name), new_len = (uint32_t)strlen(newname);
	struct csvp_rename *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->dir = le64_of(parent);
		body->new_dir = le64_of(newparent);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->flags = le32_of(flags);
		body->name_len = le32_of(len);
		body->new_name_len = le32_of(new_len);
		body->uid = le32_of(fuse_req_ctx(req)->uid);
		body->gid = le32_of(fuse_req_ctx(req)->gid);
	}
	csvp_put_bytes(&f->call.msg, name, len);
	csvp_put_bytes(&f->call.msg, newname, new_len);
	f->call.modifies = true;
	fcall_send(f);
}

static void fop_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct fcall *f = fcall_new(req, CSVP_LINK, reply_entry);

	if (!f)
		return;
	struct csvp_name *body = put_name(f, newparent, ino, newname);
	if (body)
		body->unnamed = le32_of(node_is_unnamed(f->mount->node, ino));
	f->call.modifies = true;
	fcall_send(f);
}

/* ---- directories ---- */

struct dirfill {
	char *buf;
	size_t len, size;
	bool plus;
	fuse_req_t req;
};

static bool dir_add(struct dirfill *d, const char *name, const struct fuse_entry_param *e, off_t off)
{
	size_t left = d->size - d->len, n;

	if (d->plus)
		n = fuse_add_direntry_plus(d->req, d->buf + d->len, left, name, e, off);
	else
		n = fuse_add_direntry(d->req, d->buf + d->len, left, name, &e->attr, off);
	if (n > left)
		return false;
	d->len += n;
	return true;
}

/* What a listing is asked for. */
struct listing {
	uint64_t ino, off, parent; /* parent: of a listing from the start */
	size_t size;
	bool plus;
};

/* Answers req from the entries in in. */
static void listing_reply(fuse_req_t req, const struct listing *l, struct csvp_in *in)
{
	struct dirfill d = { malloc(l->size), 0, l->size, l->plus, req };
	/* "." and "..": ino 0 in READDIRPLUS, so that the kernel counts no lookup of them */
	struct fuse_entry_param dot = { .attr = { .st_ino = l->ino, .st_mode = S_IFDIR } };
	struct fuse_entry_param dotdot = { .attr = { .st_ino = l->parent, .st_mode = S_IFDIR } };
	const struct csvp_dirent *ent;

	if (!d.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	bool more = (l->off >= 1 || dir_add(&d, ".", &dot, 1)) &&
		(l->off >= 2 || dir_add(&d, "..", &dotdot, 2));
	while (more && (ent = csvp_get(in, sizeof(*ent)))) {
		struct fuse_entry_param e;
		char name[CSV_NAME_MAX + 1];
		uint32_t len = le32_get(ent->name_len);
		const char *bytes = csvp_get(in, ALIGN_UP(len, 8u));
		if (!bytes || len > CSV_NAME_MAX)
			break;
		memcpy(name, bytes, len);
		name[len] = 0;
		attr_to_entry(&e, &ent->attr);
		more = dir_add(&d, name, &e, (off_t)le64_get(ent->cookie));
	}
	fuse_reply_buf(req, d.buf, d.len);
	free(d.buf);
}

static void reply_readdir(struct fcall *f, struct csvp_in *in)
{
	struct listing l = { f->ino, f->off, f->parent, f->size, f->plus };

	listing_reply(f->req, &l, in);
}

static void listing_get(fuse_req_t req, const struct listing *l)
{
	struct fmount *m = fuse_req_userdata(req);
	uint64_t after = l->off > 2 ? l->off : 0;
	uint8_t *known;
	uint32_t len;

	uint64_t read_ns = node_noatime(m->node) ? 0 : (uint64_t)now_ns();
	struct csvp_attr attr;
	bool due = node_meta_getattr(m->node, l->ino, &attr) && node_atime_due(m->node, &attr, read_ns);

	if (!due && node_meta_readdir(m->node, l->ino, after, &known, &len)) {
		struct csvp_in in = { NULL, known, known + len };
		listing_reply(req, l, &in);
		free(known);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_READDIR, reply_readdir);
	if (!f)
		return;
	f->ino = l->ino;
	f->off = l->off;
	f->parent = l->parent;
	f->size = l->size;
	f->plus = l->plus;
	struct csvp_readdir *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->dir = le64_of(l->ino);
		body->after = le64_of(after);
		body->read_ns = le64_of(read_ns);
		body->strict = le32_of(node_strictatime(m->node));
		body->max_bytes = le32_of((uint32_t)MIN(l->size + 512, 128u << 10));
	}
	fcall_send(f);
}

static void reply_parent(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));
	struct listing l = { f->ino, f->off, a ? le64_get(a->ino) : 0, f->size, f->plus };

	if (a)
		listing_get(f->req, &l);
	else
		fuse_reply_err(f->req, EPROTO);
}

/* A listing from the start shows "..", whose number the parent has to be asked for. */
static void readdir_send(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct fmount *m = fuse_req_userdata(req);
	struct listing l = { ino, (uint64_t)off, 0, size, plus };
	struct csvp_attr attr;
	int status;

	if (off < 2 && node_meta_lookup(m->node, ino, "..", &attr, &status) && !status)
		l.parent = le64_get(attr.ino);
	if (off >= 2 || l.parent) {
		listing_get(req, &l);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_LOOKUP, reply_parent);
	if (!f)
		return;
	f->ino = ino;
	f->off = l.off;
	f->size = size;
	f->plus = plus;
	put_name(f, ino, 0, "..");
	fcall_send(f);
}

static void fop_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	readdir_send(req, ino, size, off, false);
}

static void fop_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	readdir_send(req, ino, size, off, true);
}

/* ---- the rest ---- */

static void reply_statfs(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_statfs *s = csvp_get(in, sizeof(*s));

	if (!s) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	struct statvfs st = {
		.f_bsize = BLK,
		.f_frsize = BLK,
		.f_blocks = le64_get(s->nr_blks),
		.f_bfree = le64_get(s->free_blks),
		.f_bavail = le64_get(s->avail_blks),
		.f_files = le64_get(s->nr_inodes) + le64_get(s->free_blks),
		.f_ffree = le64_get(s->free_blks),
		.f_favail = le64_get(s->free_blks),
		.f_namemax = CSV_NAME_MAX,
	};
	uint64_t limit = le64_get(s->limit_inodes), used = le64_get(s->nr_inodes);
	if (limit) {
		st.f_files = limit;
		st.f_ffree = st.f_favail = limit > used ? limit - used : 0;
	}
	fuse_reply_statfs(f->req, &st);
}

static void fop_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct fcall *f = fcall_new(req, CSVP_STATFS, reply_statfs);

	if (!f)
		return;
	struct csvp_ino *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		body->ino = le64_of(ino);
	fcall_send(f);
}

/* Before it asks, the kernel has taken away what a program's rights are. It leaves set-group-id where
 * the group may not execute; others do not. */
static void fop_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
	struct fuse_file_info *fi)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct fcall *f = fcall_new(req, CSVP_FALLOCATE, reply_ok);

	if (!f)
		return;
	struct csvp_fallocate *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(ino);
		body->off_bytes = le64_of((uint64_t)off);
		body->len_bytes = le64_of((uint64_t)len);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->mode = le32_of((uint32_t)mode | (ctx->uid ? CSVP_FALLOC_DROP_SGID : 0));
		body->gid = le32_of(ctx->gid);
	}
	f->call.modifies = true;
	fcall_send(f);
}

static void reply_lseek(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_size *s = csvp_get(in, sizeof(*s));

	if (s)
		fuse_reply_lseek(f->req, (off_t)le64_get(s->size));
	else
		fuse_reply_err(f->req, EPROTO);
}

static void fop_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
	struct fuse_file_info *fi)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_SEEK, reply_lseek);
	if (!f)
		return;
	struct csvp_seek *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(ino);
		body->off_bytes = le64_of((uint64_t)off);
		body->data = le32_of(whence == SEEK_DATA);
	}
	fcall_send(f);
}

static void fop_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
		FUSE_CAP_SPLICE_MOVE | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_AUTO_INVAL_DATA |
		FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ATOMIC_O_TRUNC |
		/* the kernel does it for truncate and chown, and tells us of writes (fio_write) */
		FUSE_CAP_HANDLE_KILLPRIV);
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_DIO | FUSE_CAP_ASYNC_READ |
		FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_READDIRPLUS |
		FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK | FUSE_CAP_POSIX_LOCKS |
		FUSE_CAP_FLOCK_LOCKS);
	conn->max_background = 1024;
	conn->congestion_threshold = 1024;
	conn->time_gran = 1;
}

const struct fuse_lowlevel_ops fuse_meta_ops = {
	.init = fop_init,
	.lookup = fop_lookup,
	.forget = fop_forget,
	.forget_multi = fop_forget_multi,
	.getattr = fop_getattr,
	.setattr = fop_setattr,
	.readlink = fop_readlink,
	.mknod = fop_mknod,
	.mkdir = fop_mkdir,
	.symlink = fop_symlink,
	.unlink = fop_unlink,
	.rmdir = fop_rmdir,
	.rename = fop_rename,
	.link = fop_link,
	.open = fop_open,
	.opendir = fop_opendir,
	.releasedir = fop_releasedir,
	.create = fop_create,
	.flush = fop_flush,
	.release = fop_release,
	.getlk = fop_getlk,
	.setlk = fop_setlk,
	.flock = fop_flock,
	.read = fio_read,
	.write = fio_write,
	.fsync = fio_fsync,
	.fsyncdir = fio_fsync,
	.readdir = fop_readdir,
	.readdirplus = fop_readdirplus,
	.getxattr = fop_getxattr,
	.setxattr = fop_setxattr,
	.listxattr = fop_listxattr,
	.removexattr = fop_removexattr,
	.statfs = fop_statfs,
	.fallocate = fop_fallocate,
	.lseek = fop_lseek,
	.copy_file_range = fop_copy_file_range,
	.ioctl = fop_ioctl,
};
