/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks, and the ends of files, which end locks.
 *
 * The kernel leaves the unlock at close() to FLUSH (its lock_owner is the process), and to RELEASE for
 * flock and for locks of open files. A close of what has no locks costs no message (csvfs/node/lock.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/err.h"

/* A request about locks on behalf of a FUSE request. */
struct flk {
	struct node_lock l;
	fuse_req_t req;
	struct fmount *mount;
	struct ffile *file;
};

static struct flk *flk_new(fuse_req_t req, struct fuse_file_info *fi,
	void (*done)(struct node_lock *l, int status))
{
	struct flk *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->req = req;
	f->mount = fuse_req_userdata(req);
	f->file = ffile_of(fi);
	f->l.node = f->mount->node;
	f->l.ni = f->file->ni;
	f->l.file = f->file;
	f->l.done = done;
	atomic_fetch_add(&f->mount->nr_calls, 1);
	return f;
}

static void flk_free(struct flk *f)
{
	struct fmount *m = f->mount;

	node_lock_free(&f->l);
	atomic_fetch_sub(&m->nr_calls, 1);
}

static uint64_t range_end(const struct flock *lock)
{
	return lock->l_len ? (uint64_t)lock->l_start + (uint64_t)lock->l_len - 1 : CSVP_LOCK_END;
}

static uint32_t type_of(int l_type)
{
	return l_type == F_RDLCK ? CSVP_LOCK_READ : l_type == F_WRLCK ? CSVP_LOCK_WRITE :
									CSVP_LOCK_NONE;
}

/* ---- lock, unlock ---- */

static void interrupted(fuse_req_t req, void *arg)
{
	node_lock_cancel(arg);
}

static void setlk_done(struct node_lock *l, int status)
{
	struct flk *f = container_of(l, struct flk, l);

	if (l->wait)
		fuse_req_interrupt_func(f->req, NULL, NULL); /* waits for one that runs */
	fuse_reply_err(f->req, status ? err_to_errno(status) : 0);
	flk_free(f);
}

static void setlk_send(struct flk *f)
{
	if (f->l.wait)
		fuse_req_interrupt_func(f->req, interrupted, &f->l);
	if (node_lock(&f->l) == -ENOENT) { /* nothing to be unlocked */
		fuse_reply_err(f->req, 0);
		flk_free(f);
	}
}

void fop_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
	int sleep)
{
	struct flk *f = flk_new(req, fi, setlk_done);

	if (!f) {
		fuse_reply_err(req, ENOLCK);
		return;
	}
	f->l.lock = (struct lock){
		.kind = CSVP_LOCK_FCNTL,
		.type = type_of(lock->l_type),
		.owner = fi->lock_owner,
		.pid = (uint32_t)lock->l_pid,
		.start = (uint64_t)lock->l_start,
		.end = range_end(lock),
	};
	f->l.wait = sleep && f->l.lock.type != CSVP_LOCK_NONE;
	setlk_send(f);
}

void fop_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct flk *f = flk_new(req, fi, setlk_done);
	int what = op & ~LOCK_NB;

	if (!f) {
		fuse_reply_err(req, ENOLCK);
		return;
	}
	f->l.lock = (struct lock){
		.kind = CSVP_LOCK_FLOCK,
		.type = what == LOCK_SH ? CSVP_LOCK_READ :
			what == LOCK_EX ? CSVP_LOCK_WRITE :
					  CSVP_LOCK_NONE,
		.owner = fi->lock_owner,
		.end = CSVP_LOCK_END,
	};
	f->l.wait = !(op & LOCK_NB) && f->l.lock.type != CSVP_LOCK_NONE;
	setlk_send(f);
}

/* ---- who has it ---- */

static void reply_getlk(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_lock *b = csvp_get(in, sizeof(*b));
	struct flock out = { .l_type = F_UNLCK };
	struct lock lock;

	if (!b || lock_get(&lock, b)) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	if (lock.type != CSVP_LOCK_NONE) {
		out.l_type = lock.type == CSVP_LOCK_READ ? F_RDLCK : F_WRLCK;
		out.l_whence = SEEK_SET;
		out.l_start = (off_t)lock.start;
		out.l_len = lock.end == CSVP_LOCK_END ? 0 : (off_t)(lock.end - lock.start + 1);
		out.l_pid = (pid_t)lock.pid;
	}
	fuse_reply_lock(f->req, &out);
}

void fop_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct fcall *f = fcall_new(req, CSVP_GETLK, reply_getlk);
	struct lock want = {
		.kind = CSVP_LOCK_FCNTL,
		.type = type_of(lock->l_type),
		.owner = fi->lock_owner,
		.start = (uint64_t)lock->l_start,
		.end = range_end(lock),
	};

	if (!f)
		return;
	struct csvp_lock *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		lock_put(body, ino, &want);
	fcall_send(f);
}

/* ---- the ends of files ---- */

/* The answer does not matter: a node that has failed has no locks. */
static void flush_done(struct node_lock *l, int status)
{
	setlk_done(l, 0);
}

void fop_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct flk *f = flk_new(req, fi, flush_done);

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f->l.lock = (struct lock){
		.kind = CSVP_LOCK_FCNTL,
		.type = CSVP_LOCK_NONE,
		.owner = fi->lock_owner,
		.end = CSVP_LOCK_END,
	};
	setlk_send(f);
}

/* One owner after the other; the inode is closed when their unlocks were answered. */
static void release_next(struct node_lock *l, int status)
{
	struct flk *f = container_of(l, struct flk, l);

	if (node_lock_release(l) == 0)
		return;
	open_end(f->req, f->file);
	flk_free(f);
}

void fop_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct flk *f = flk_new(req, fi, release_next);

	if (f)
		release_next(&f->l, 0);
	else
		open_end(req, ffile_of(fi)); /* the last close ends what is left */
}
