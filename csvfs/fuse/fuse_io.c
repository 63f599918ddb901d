/* SPDX-License-Identifier: GPL-2.0-or-later */
/* READ, WRITE and FSYNC: from the FUSE request to the device and back on one worker's thread. What the
 * service thread has read is handed over to the first worker, before any of it is done (fuse.h, F3). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/checked.h"
#include "util/err.h"

#define BLK 4096u

/* Whose request it is that is being processed. */
static struct fworker *worker_for(void)
{
	struct fworker *w = fworker_self;

	w->nr_for_worker++;
	return w->nw.queue ? w : &w->mount->workers[0];
}

static void begin_on(struct fworker *w, struct loop_work *work, void (*fn)(struct loop_work *work))
{
	work->fn = fn;
	if (w == fworker_self)
		fn(work);
	else
		loop_post(w->nw.loop, work);
}

struct fio {
	struct node_io io;
	struct loop_work work; /* handed over to w */
	fuse_req_t req;
	struct fworker *w;
	struct recv_buf *recv; /* WRITE: holds the payload */
	size_t buf_size;       /* READ: of io.buf */
};

static void read_done(struct node_io *io, int status, uint32_t nr_bytes, uint32_t skip_bytes)
{
	struct fio *f = container_of(io, struct fio, io);

	if (status)
		fuse_reply_err(f->req, err_to_errno(status));
	else
		fuse_reply_buf(f->req, (const char *)io->buf + skip_bytes, nr_bytes);
	buf_put(f->w->nw.pool, io->buf, f->buf_size);
	f->w->nr_io--;
	free(f);
}

static void read_begin(struct loop_work *work)
{
	struct fio *f = container_of(work, struct fio, work);

	f->buf_size = MAX(ALIGN_UP(f->io.off_bytes % BLK + f->io.len_bytes, BLK), BLK);
	f->io.buf = buf_get(f->w->nw.pool, f->buf_size);
	if (!f->io.buf) {
		fuse_reply_err(f->req, ENOMEM);
		free(f);
		return;
	}
	f->w->nr_io++;
	node_io_submit(&f->io);
}

void fio_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct fio *f = calloc(1, sizeof(*f));

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f->req = req;
	f->w = worker_for();
	f->io.op = NODE_READ;
	f->io.worker = &f->w->nw;
	f->io.ni = ffile_of(fi)->ni;
	f->io.off_bytes = (uint64_t)off;
	f->io.len_bytes = (uint32_t)MIN(size, NODE_IO_MAX_BYTES);
	f->io.paging = fworker_self->as == FUSE_AS_PAGES;
	f->io.done = read_done;
	begin_on(f->w, &f->work, read_begin);
}

static void write_done(struct node_io *io, int status, uint32_t nr_bytes, uint32_t skip_bytes)
{
	struct fio *f = container_of(io, struct fio, io);

	if (status)
		fuse_reply_err(f->req, err_to_errno(status));
	else
		fuse_reply_write(f->req, nr_bytes);
	recv_put(f->w, f->recv);
	f->w->nr_io--;
	free(f);
}

static void write_begin(struct loop_work *work)
{
	struct fio *f = container_of(work, struct fio, work);

	f->w->nr_io++;
	node_io_submit(&f->io);
}

void fio_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	struct fuse_file_info *fi)
{
	struct fio *f = calloc(1, sizeof(*f));
	/* It stands before the payload (F2); libfuse does not hand on all of its flags. */
	const struct fuse_write_in *write_in = (const struct fuse_write_in *)(const void *)buf - 1;

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f->req = req;
	f->w = worker_for();
	f->recv = fworker_self->recv;
	fworker_self->taken = true;
	f->io.op = NODE_WRITE;
	f->io.worker = &f->w->nw;
	f->io.ni = ffile_of(fi)->ni;
	f->io.off_bytes = (uint64_t)off;
	f->io.len_bytes = (uint32_t)size;
	f->io.buf = (void *)(uintptr_t)buf;
	f->io.paging = write_in->write_flags & FUSE_WRITE_CACHE;
	f->io.append = fi->flags & O_APPEND && !f->io.paging;
	f->io.drop_priv = write_in->write_flags & FUSE_WRITE_KILL_SUIDGID;
	f->io.done = write_done;
	begin_on(f->w, &f->work, write_begin);
}

struct fsync_req {
	struct node_sync sync;
	struct loop_work work; /* handed over to w */
	fuse_req_t req;
	struct fworker *w;
};

static void fsync_done(struct node_sync *sync, int status)
{
	struct fsync_req *f = container_of(sync, struct fsync_req, sync);

	fuse_reply_err(f->req, status ? err_to_errno(status) : 0);
	f->w->nr_io--;
	free(f);
}

static void fsync_begin(struct loop_work *work)
{
	struct fsync_req *f = container_of(work, struct fsync_req, work);

	f->w->nr_io++;
	node_sync(&f->w->nw, &f->sync);
}

/* What was acknowledged is on the LUN, records included: a flush makes it stable. */
void fio_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct fsync_req *f = calloc(1, sizeof(*f));

	if (!f) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	f->req = req;
	f->w = worker_for();
	f->sync.done = fsync_done;
	begin_on(f->w, &f->work, fsync_begin);
}
