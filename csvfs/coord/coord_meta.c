/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests about names and attributes: most are one transaction each. And the table of all ops. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"

static void reply_attr(struct request *r)
{
	struct csvp_attr *out = csvp_put(&r->reply, sizeof(*out));

	if (out)
		csvp_put_attr(out, &r->attr);
}

/* The name behind a request's struct; NULL: the message is shorter than it says. */
static const char *name_of(struct csvp_in *in, uint32_t len)
{
	return csvp_get(in, len);
}

static int run_lookup(struct request *r, struct csv_txn *txn)
{
	const struct csvp_name *b = r->body;
	struct csvp_in in = r->in;
	const char *name = name_of(&in, le32_get(b->name_len));

	return name ? csv_lookup(txn, le64_get(b->dir), name, le32_get(b->name_len), &r->attr) :
		      -EPROTO;
}

/* What is made in a set-group-id directory gets its group; a directory passes the bit on. The umask
 * counts unless there may be a default list: *ret_list. */
static int inherit(struct csv_txn *txn, uint64_t dir, uint32_t umask, struct csv_attr *proto,
	bool *ret_list)
{
	struct csv_attr attr;
	int err = csv_inode_get(txn, dir, &attr);

	if (err)
		return err;
	if (S_ISDIR(attr.mode) && (attr.mode & S_ISGID)) {
		proto->gid = attr.gid;
		if (S_ISDIR(proto->mode))
			proto->mode |= S_ISGID;
	}
	*ret_list = attr.has_xattrs && !S_ISLNK(proto->mode);
	if (!*ret_list && !S_ISLNK(proto->mode))
		proto->mode &= ~(umask & 0777);
	return 0;
}

static int run_create(struct request *r, struct csv_txn *txn)
{
	const struct csvp_create *b = r->body;
	struct csvp_in in = r->in;
	const char *name = name_of(&in, le32_get(b->name_len));
	const char *target = name_of(&in, le32_get(b->target_len));
	int64_t now = (int64_t)le64_get(b->now_ns);
	struct csv_attr proto = {
		.mode = le32_get(b->mode),
		.uid = le32_get(b->uid),
		.gid = le32_get(b->gid),
		.rdev = le64_get(b->rdev),
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
	};

	bool list;

	if (!name || !target)
		return -EPROTO;
	int err = inherit(txn, le64_get(b->dir), le32_get(b->umask), &proto, &list);
	if (!err && le32_get(b->open))
		err = ci_may_open(r->coord, NULL, r->node);
	if (!err && !le32_get(b->name_len) && le32_get(b->open))
		err = csv_create_unnamed(txn, le64_get(b->dir), &proto, &r->attr);
	else if (!err)
		err = csv_create(txn, le64_get(b->dir), name, le32_get(b->name_len), &proto, target,
			le32_get(b->target_len), &r->attr);
	if (!err && list)
		err = csv_acl_inherit(txn, le64_get(b->dir), r->attr.ino, le32_get(b->umask),
			&r->attr);
	r->attr2 = (struct csv_attr){ 0 };
	return err ? err : csv_inode_get(txn, le64_get(b->dir), &r->attr2);
}

/* The directory's attributes, too: its node has to forget those that it had, and needs them for the next
 * name. An answer that is given again is without them. */
static void reply_create(struct request *r)
{
	struct csvp_attr *out;

	reply_attr(r);
	out = r->attr2.ino ? csvp_put(&r->reply, sizeof(*out)) : NULL;
	if (out)
		csvp_put_attr(out, &r->attr2);
}

static void after_create(struct request *r)
{
	const struct csvp_create *b = r->body;

	if (le32_get(b->open) && request_live(r) && !ci_attach(r, r->attr.ino))
		ci_set_open(r->coord, r->ci, r->node, true);
}

static int run_link(struct request *r, struct csv_txn *txn)
{
	const struct csvp_name *b = r->body;
	struct csvp_in in = r->in;
	const char *name = name_of(&in, le32_get(b->name_len));

	if (!name)
		return -EPROTO;
	return (le32_get(b->unnamed) ? csv_link_unnamed : csv_link)(txn, le64_get(b->arg),
		le64_get(b->dir), name, le32_get(b->name_len), (int64_t)le64_get(b->now_ns), &r->attr);
}

static int run_unlink(struct request *r, struct csv_txn *txn)
{
	const struct csvp_name *b = r->body;
	struct csvp_in in = r->in;
	const char *name = name_of(&in, le32_get(b->name_len));

	if (!name)
		return -EPROTO;
	int err = csv_unlink(txn, le64_get(b->dir), name, le32_get(b->name_len),
		le64_get(b->arg) == 1, (int64_t)le64_get(b->now_ns), &r->attr);
	r->nameless = !err && r->attr.nlink == 0 ? r->attr.ino : 0;
	return err;
}

static void after_unlink(struct request *r)
{
	if (r->attr.nlink == 0 || S_ISDIR(r->attr.mode))
		orphan_check(r->coord, r->attr.ino);
}

/* For union mounts: what lies below the name that has gone does not show again. */
static int whiteout(struct request *r, struct csv_txn *txn, const char *name)
{
	const struct csvp_rename *b = r->body;
	int64_t now = (int64_t)le64_get(b->now_ns);
	struct csv_attr attr, proto = {
		.mode = S_IFCHR,
		.uid = le32_get(b->uid),
		.gid = le32_get(b->gid),
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
	};
	int err = csv_create(txn, le64_get(b->dir), name, le32_get(b->name_len), &proto, "", 0, &attr);

	return err == -EEXIST ? 0 : err; /* two names of one file: nothing has moved */
}

static int run_rename(struct request *r, struct csv_txn *txn)
{
	const struct csvp_rename *b = r->body;
	struct csvp_in in = r->in;
	const char *name = name_of(&in, le32_get(b->name_len));
	const char *new_name = name_of(&in, le32_get(b->new_name_len));

	uint32_t flags = le32_get(b->flags);
	bool leave = flags & CSVP_RENAME_WHITEOUT;

	if (!name || !new_name)
		return -EPROTO;
	if (leave && (flags & CSV_RENAME_EXCHANGE))
		return -EINVAL;
	int err = csv_rename(txn, le64_get(b->dir), name, le32_get(b->name_len),
		le64_get(b->new_dir), new_name, le32_get(b->new_name_len),
		flags & ~CSVP_RENAME_WHITEOUT, (int64_t)le64_get(b->now_ns), &r->attr, &r->attr2);
	r->nameless = !err && !(flags & CSV_RENAME_EXCHANGE) && r->attr2.nlink == 0 ? r->attr2.ino : 0;
	return err || !leave ? err : whiteout(r, txn, name);
}

static void after_rename(struct request *r)
{
	const struct csvp_rename *b = r->body;

	if (r->attr2.ino && !(le32_get(b->flags) & CSV_RENAME_EXCHANGE))
		orphan_check(r->coord, r->attr2.ino);
}

static int run_readlink(struct request *r, struct csv_txn *txn)
{
	const struct csvp_ino *b = r->body;

	if (!r->io_buf)
		r->io_buf = malloc(CSV_SYMLINK_MAX);
	if (!r->io_buf)
		return -ENOMEM;
	r->inline_len = CSV_SYMLINK_MAX;
	return csv_readlink(txn, le64_get(b->ino), r->io_buf, &r->inline_len);
}

static void reply_readlink(struct request *r)
{
	csvp_put_bytes(&r->reply, r->io_buf, r->inline_len);
}

struct readdir_fill {
	struct request *r;
	uint32_t max_bytes;
};

static bool readdir_entry(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr)
{
	struct readdir_fill *fill = arg;
	struct csvp_msg *msg = &fill->r->reply;
	uint32_t name_room = ALIGN_UP(ent->name_len, 8u);

	if (msg->len + sizeof(struct csvp_dirent) + name_room > fill->max_bytes)
		return false;
	struct csvp_dirent *out = csvp_put(msg, sizeof(*out));
	if (!out)
		return false;
	csvp_put_attr(&out->attr, attr);
	out->cookie = le64_of(ent->cookie);
	out->name_len = le32_of(ent->name_len);
	out->type = le32_of(ent->type);
	char *name = csvp_put(msg, name_room);
	if (name)
		memcpy(name, ent->name, ent->name_len);
	return name != NULL;
}

static int run_readdir(struct request *r, struct csv_txn *txn)
{
	const struct csvp_readdir *b = r->body;
	struct readdir_fill fill = { r, MIN(le32_get(b->max_bytes), 128u << 10) };

	csvp_free(&r->reply);
	csvp_begin(&r->reply, CSVP_READDIR, CSVP_REPLY, 0, le64_get(r->hdr->xid));
	if (le64_get(b->read_ns)) {
		int err = csv_inode_was_read(txn, le64_get(b->dir), (int64_t)le64_get(b->read_ns),
			le32_get(b->strict), NULL);
		if (err)
			return err;
	}
	return csv_readdir(txn, le64_get(b->dir), le64_get(b->after), true, readdir_entry, &fill);
}

static int run_statfs(struct request *r, struct csv_txn *txn)
{
	struct csvp_in in = r->in;
	const struct csvp_ino *b = csvp_left(&in) ? csvp_get(&in, sizeof(*b)) : NULL;

	return csv_statfs_at(txn, b ? le64_get(b->ino) : 0, &r->statfs);
}

static void reply_statfs(struct request *r)
{
	struct csvp_statfs *out = csvp_put(&r->reply, sizeof(*out));

	if (out)
		*out = (struct csvp_statfs){
			.nr_blks = le64_of(r->statfs.nr_blks),
			.free_blks = le64_of(r->statfs.free_blks),
			.avail_blks = le64_of(r->statfs.avail_blks),
			.nr_inodes = le64_of(r->statfs.nr_inodes),
			.limit_inodes = le64_of(r->statfs.limit_inodes),
		};
}

static void sync_done(void *arg, int status)
{
	request_finish(arg, status);
}

static void start_sync(struct request *r)
{
	csv_fs_sync(r->coord->cfg.fs, sync_done, r);
}

/* ---- attributes: the holders of write tokens know the times ---- */

static int run_getattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_getattr *b = r->body;
	uint64_t ino = le64_get(b->ino);
	struct csv_attr set = { .mtime_ns = (int64_t)r->times_ns, .ctime_ns = (int64_t)r->times_ns };

	int err = r->times_ns ? csv_inode_set(txn, ino, CSV_SET_MTIME_MAX, &set, &r->attr) :
				csv_inode_get(txn, ino, &r->attr);

	if (err || !le64_get(b->read_ns))
		return err;
	return csv_inode_was_read(txn, ino, (int64_t)le64_get(b->read_ns), le32_get(b->strict), &r->attr);
}

static void times_done(struct callback *cb, const struct csvp_recall_reply *reply)
{
	struct request *r = cb->r;

	if (reply)
		r->times_ns = MAX(r->times_ns, le64_get(reply->wrote_ns));
	r->waiting &= ~NODE_BIT(cb->node);
	if (!r->waiting)
		request_run(r, run_getattr, request_finish);
}

static void start_getattr(struct request *r)
{
	const struct csvp_getattr *b = r->body;
	struct coord_inode *ci = ci_find(r->coord, le64_get(b->ino));

	/* Without the token it has told already, in the recall; utimes() may have been since. */
	if (ci && ci->mode[r->node] >= CSVP_WRITE)
		r->times_ns = le64_get(b->wrote_ns);
	if (ci)
		for (uint32_t node = 1; node < NR_NODES; node++)
			if (node != r->node && ci->mode[node] >= CSVP_WRITE &&
				!callback_send(r, node, CSVP_TIMES, ci->hash.key, CSVP_NONE,
					times_done))
				r->waiting |= NODE_BIT(node);
	if (!r->waiting)
		request_run(r, run_getattr, request_finish);
}

static int run_setattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_setattr *b = r->body;
	struct csv_attr set = {
		.mode = le32_get(b->mode),
		.uid = le32_get(b->uid),
		.gid = le32_get(b->gid),
		.atime_ns = (int64_t)le64_get(b->atime_ns),
		.mtime_ns = (int64_t)le64_get(b->mtime_ns),
		.ctime_ns = (int64_t)le64_get(b->ctime_ns),
	};

	unsigned mask = le32_get(b->mask) & ~(unsigned)CSV_SET_SIZE;
	int err = csv_inode_set(txn, le64_get(b->ino), mask, &set, &r->attr);

	if (err || !(mask & (CSV_SET_UID | CSV_SET_GID)) || S_ISDIR(r->attr.mode))
		return err;
	/* Another owner's program: it gives no rights any more. */
	err = csv_priv_drop(txn, le64_get(b->ino));
	return err ? err : csv_inode_get(txn, le64_get(b->ino), &r->attr);
}

static void setattr_go(struct request *r, int status)
{
	request_run(r, run_setattr, request_finish);
}

static void start_setattr(struct request *r)
{
	const struct csvp_setattr *b = r->body;
	int err = ci_attach(r, le64_get(b->ino));

	if (err)
		request_finish(r, err);
	else if (le32_get(b->mask) & CSV_SET_SIZE)
		start_setattr_size(r);
	else if ((le32_get(b->mask) & CSV_SET_MODE) && (le32_get(b->mode) & (S_ISUID | S_ISGID)))
		section_enter(r, ALL_NODES, CSVP_NONE, setattr_go); /* writers must ask (has_priv) */
	else if (le32_get(b->mask) & (CSV_SET_MTIME | CSV_SET_ATIME))
		/* Times that are set by hand must not be overtaken by what writers still hold. */
		section_enter(r, ALL_NODES, CSVP_READ, setattr_go);
	else
		setattr_go(r, 0);
}

/* ---- opens ---- */

static int run_open(struct request *r, struct csv_txn *txn)
{
	const struct csvp_ino *b = r->body;

	return csv_inode_get(txn, le64_get(b->ino), &r->attr);
}

static void open_done(struct request *r, int status);

static void open_again(struct request *r, int status)
{
	request_run(r, run_open, open_done);
}

static void open_done(struct request *r, int status)
{
	if (status == 0 && r->ci->freeing && !r->in_section) { /* what becomes of it shows when that is over */
		section_enter(r, 0, CSVP_NONE, open_again);
		return;
	}
	if (status == 0 && request_live(r))
		ci_set_open(r->coord, r->ci, r->node, true);
	request_finish(r, status);
}

static void start_open(struct request *r)
{
	const struct csvp_ino *b = r->body;
	int err = ci_attach(r, le64_get(b->ino));

	if (!err)
		err = ci_may_open(r->coord, r->ci, r->node);
	if (err)
		request_finish(r, err);
	else
		request_run(r, run_open, open_done);
}

static int run_close(struct request *r, struct csv_txn *txn)
{
	const struct csvp_close *b = r->body;
	struct csv_attr set = { .mtime_ns = (int64_t)r->times_ns, .ctime_ns = (int64_t)r->times_ns };
	int64_t read_ns = (int64_t)le64_get(b->read_ns);
	int err = r->times_ns ? csv_inode_set(txn, r->ci->hash.key, CSV_SET_MTIME_MAX, &set, NULL) :
				0;

	if (!err && read_ns)
		err = csv_inode_was_read(txn, r->ci->hash.key, read_ns, le32_get(b->strict), NULL);
	if (!err)
		err = csv_inode_get(txn, r->ci->hash.key, &r->attr);
	return err == -ESTALE ? 0 : err;
}

static void close_done(struct request *r, int status)
{
	struct coord_inode *ci = r->ci;
	uint64_t ino = ci->hash.key;
	struct coord *coord = r->coord;
	/* Who removes its name from now on finds it closed, and looks himself. */
	bool named = status == 0 && r->attr.nlink;

	ci->refs++;
	request_finish(r, status);
	if (!ci->opens && !named)
		orphan_check(coord, ino);
	ci->refs--;
	ci_maybe_free(coord, ci);
}

static void start_close(struct request *r)
{
	const struct csvp_close *b = r->body;
	int err = ci_attach(r, le64_get(b->ino));

	if (err) {
		request_finish(r, err);
		return;
	}
	r->times_ns = le64_get(b->wrote_ns);
	ci_set_open(r->coord, r->ci, r->node, false);
	ci_set_mode(r->ci, r->node, CSVP_NONE);
	lock_closed(r->coord, r->ci, r->node);
	request_run(r, run_close, close_done);
}

const struct op_desc coord_ops[CSVP_OP_LIMIT] = {
	[CSVP_LOOKUP] = { sizeof(struct csvp_name), .run = run_lookup, .reply = reply_attr },
	[CSVP_GETATTR] = { sizeof(struct csvp_getattr), start_getattr, .reply = reply_attr },
	[CSVP_SETATTR] = { sizeof(struct csvp_setattr), start_setattr, .reply = reply_attr,
		.once = true },
	[CSVP_CREATE] = { sizeof(struct csvp_create), .run = run_create, .reply = reply_create,
		.after = after_create, .once = true },
	[CSVP_LINK] = { sizeof(struct csvp_name), .run = run_link, .reply = reply_attr,
		.once = true },
	[CSVP_UNLINK] = { sizeof(struct csvp_name), .run = run_unlink, .reply = reply_attr,
		.after = after_unlink, .once = true },
	[CSVP_RENAME] = { sizeof(struct csvp_rename), .run = run_rename, .after = after_rename,
		.once = true },
	[CSVP_READLINK] = { sizeof(struct csvp_ino), .run = run_readlink, .reply = reply_readlink },
	[CSVP_READDIR] = { sizeof(struct csvp_readdir), .run = run_readdir },
	[CSVP_OPEN] = { sizeof(struct csvp_ino), start_open, .reply = reply_attr },
	[CSVP_CLOSE] = { sizeof(struct csvp_close), start_close },
	[CSVP_LAYOUT] = { sizeof(struct csvp_layout), start_layout, .reply = reply_layout },
	[CSVP_COMMIT] = { sizeof(struct csvp_commit), start_commit, .reply = reply_size },
	[CSVP_WRITE_INLINE] = { sizeof(struct csvp_write_inline), start_write_inline,
		.reply = reply_size, .once = true },
	[CSVP_FALLOCATE] = { sizeof(struct csvp_fallocate), start_fallocate, .reply = reply_size,
		.once = true },
	[CSVP_SEEK] = { sizeof(struct csvp_seek), start_seek, .reply = reply_size },
	[CSVP_STATFS] = { 0, .run = run_statfs, .reply = reply_statfs },
	[CSVP_SYNC] = { 0, start_sync },
	[CSVP_GROW] = { sizeof(struct csvp_grow), start_grow, .reply = reply_grow },
	[CSVP_CLONE] = { sizeof(struct csvp_clone), start_clone, .reply = reply_size, .once = true },
	[CSVP_MAP] = { sizeof(struct csvp_map), .run = run_map, .reply = reply_layout },
	[CSVP_GETXATTR] = { sizeof(struct csvp_xattr), .run = run_getxattr, .reply = reply_xattr },
	[CSVP_SETXATTR] = { sizeof(struct csvp_xattr), start_setxattr, .once = true },
	[CSVP_LISTXATTR] = { sizeof(struct csvp_xattr), .run = run_listxattr,
		.reply = reply_xattr },
	[CSVP_LOCK] = { sizeof(struct csvp_lock), start_lock },
	[CSVP_GETLK] = { sizeof(struct csvp_lock), start_getlk, .reply = reply_getlk },
	[CSVP_LOCK_CANCEL] = { sizeof(struct csvp_lock_cancel), start_lock_cancel },
	[CSVP_PROJECT_GET] = { sizeof(struct csvp_project), .run = run_project_get,
		.reply = reply_project },
	[CSVP_PROJECT_SET] = { sizeof(struct csvp_project), .run = run_project_set, .once = true },
	[CSVP_REMOVEXATTR] = { sizeof(struct csvp_xattr), .run = run_removexattr, .once = true },
};
