/* SPDX-License-Identifier: GPL-2.0-or-later */
/* open, create, opendir. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/err.h"

#ifndef FOPEN_PARALLEL_DIRECT_WRITES
#define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6) /* Linux 6.2; older kernels ignore it */
#endif

/* Every open goes past the page cache: pages would outlive a token. libfuse 3.14 has no field for
 * parallel direct writes, so the answers are built here (linux/fuse.h). */
static int fill_open(struct fmount *m, struct fuse_open_out *out, struct node_inode *ni, bool dir)
{
	struct ffile *file = malloc(sizeof(*file));

	if (!file)
		return -ENOMEM;
	file->ni = ni;
	pthread_mutex_lock(&m->files_lock);
	list_add_tail(&m->files, &file->link);
	pthread_mutex_unlock(&m->files_lock);
	*out = (struct fuse_open_out){
		.fh = (uintptr_t)file,
		.open_flags = dir ? 0 : FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
	};
	return 0;
}

static void file_free(struct fmount *m, struct ffile *file)
{
	pthread_mutex_lock(&m->files_lock);
	list_del(&file->link);
	pthread_mutex_unlock(&m->files_lock);
	node_close(m->node, file->ni);
	free(file);
}

void open_end(fuse_req_t req, struct ffile *file)
{
	file_free(fuse_req_userdata(req), file);
	fuse_reply_err(req, 0);
}

static void answer_open(fuse_req_t req, struct fmount *m, struct node_inode *ni, bool dir)
{
	struct fuse_open_out out;

	if (fill_open(m, &out, ni, dir)) {
		node_close(m->node, ni);
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)))
		/* the caller was interrupted: no release will come */
		file_free(m, (struct ffile *)(uintptr_t)out.fh);
}

static void open_done(struct node_call *call, int status, struct csvp_in *in)
{
	struct fcall *f = container_of(call, struct fcall, call);

	if (status) {
		node_close(f->mount->node, f->ni);
		fuse_reply_err(f->req, err_to_errno(status));
	} else {
		answer_open(f->req, f->mount, f->ni, f->dir);
	}
	fcall_free(f);
}

static void open_any(fuse_req_t req, fuse_ino_t ino, bool dir)
{
	struct fmount *m = fuse_req_userdata(req);
	bool first;
	struct node_inode *ni = (dir ? node_opendir : node_open)(m->node, ino, &first);

	if (!ni) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (!first) {
		answer_open(req, m, ni, dir);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_OPEN, NULL);
	if (!f) {
		node_close(m->node, ni);
		return;
	}
	struct csvp_ino *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		body->ino = le64_of(ino);
	f->ni = ni;
	f->dir = dir;
	f->call.done = open_done;
	fcall_send(f);
}

void fop_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_any(req, ino, false);
}

/* A directory stays while it is open, as a file does; a quiet one is opened without a message. */
void fop_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_any(req, ino, true);
}

void fop_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	open_end(req, ffile_of(fi));
}

static void reply_create(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));
	struct {
		struct fuse_entry_out e;
		struct fuse_open_out o;
	} out;
	struct stat st;
	bool first;

	if (!a) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	struct node_inode *ni = node_open(f->mount->node, le64_get(a->ino), &first);
	if (!ni) {
		fuse_reply_err(f->req, ENOMEM);
		return;
	}
	attr_to_stat(&st, a);
	memset(&out, 0, sizeof(out));
	out.e.nodeid = st.st_ino;
	out.e.generation = 1; /* as in attr_to_entry(): another one makes the kernel's inode bad */
	out.e.attr = (struct fuse_attr){
		.ino = st.st_ino,
		.size = (uint64_t)st.st_size,
		.blocks = (uint64_t)st.st_blocks,
		.atime = (uint64_t)st.st_atim.tv_sec,
		.mtime = (uint64_t)st.st_mtim.tv_sec,
		.ctime = (uint64_t)st.st_ctim.tv_sec,
		.atimensec = (uint32_t)st.st_atim.tv_nsec,
		.mtimensec = (uint32_t)st.st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st.st_ctim.tv_nsec,
		.mode = st.st_mode,
		.nlink = (uint32_t)st.st_nlink,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.rdev = (uint32_t)st.st_rdev,
		.blksize = (uint32_t)st.st_blksize,
	};
	if (fill_open(f->mount, &out.o, ni, false)) {
		node_close(f->mount->node, ni);
		fuse_reply_err(f->req, ENOMEM);
		return;
	}
	if (f->unnamed)
		node_set_unnamed(f->mount->node, ni);
	if (fuse_reply_buf(f->req, (const char *)&out, sizeof(out)))
		file_free(f->mount, (struct ffile *)(uintptr_t)out.o.fh);
}

/* Another node made the name after the kernel had looked: with -ESTALE the kernel looks again, and
 * opens what is there as it does any file (its kind, who may), which an answer here would spare it. */
static void create_done(struct node_call *call, int status, struct csvp_in *in)
{
	struct fcall *f = container_of(call, struct fcall, call);

	if (status == -EEXIST && !(f->open_flags & O_EXCL))
		status = -ESTALE;
	if (status)
		fuse_reply_err(f->req, err_to_errno(status));
	else
		reply_create(f, in);
	fcall_free(f);
}

void fop_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *fi)
{
	struct fcall *f = fcall_new(req, CSVP_CREATE, NULL);

	if (!f)
		return;
	f->unnamed = fworker_self->as == FUSE_AS_TMPFILE;
	if (f->unnamed)
		name = ""; /* the kernel's is one of its own making */
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct csvp_create *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body) {
		body->dir = le64_of(parent);
		body->mode = le32_of(S_IFREG | (mode & 07777));
		body->uid = le32_of(ctx->uid);
		body->gid = le32_of(ctx->gid);
		body->open = le32_of(1);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->name_len = le32_of((uint32_t)strlen(name));
		body->umask = le32_of(ctx->umask);
	}
	csvp_put_bytes(&f->call.msg, name, (uint32_t)strlen(name));
	f->open_flags = (uint32_t)fi->flags;
	f->call.modifies = true;
	f->call.done = create_done;
	fcall_send(f);
}
