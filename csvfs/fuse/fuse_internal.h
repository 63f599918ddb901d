/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSVFS_FUSE_INTERNAL_H
#define CSVFS_FUSE_INTERNAL_H

#include <fuse_lowlevel.h>
#include <pthread.h>

#include "csvfs/fuse/fuse.h"
#include "csvfs/node/node.h"

/* A buffer that requests are received in. The bytes of a WRITE begin at a page border (F2). */
struct recv_buf {
	struct recv_buf *next;
	uint8_t *mem;
};

struct fworker {
	struct fmount *mount;
	struct node_worker nw;
	pthread_t thread;
	bool started;
	ev_io io;
	struct recv_buf *recv;	/* for the next request */
	struct recv_buf *spare; /* free ones */
	unsigned nr_spare;
	bool taken; /* the request that is being processed took recv */
	unsigned nr_io; /* of its own requests: READ, WRITE, FSYNC */
	struct loop_work quit;
	ev_timer quit_timer;
};

struct fmount {
	struct fmount_cfg cfg;
	struct node *node;
	struct fuse_session *se;
	bool mounted;
	_Atomic bool ended;
	_Atomic uint32_t nr_calls;   /* requests that the service thread will answer */
	_Atomic uint32_t nr_running; /* workers */
	uint32_t nr_workers;
	struct fworker *workers;
};

/* The worker that runs this thread. */
extern __thread struct fworker *fworker_self;

struct recv_buf *recv_get(struct fworker *w);
void recv_put(struct fworker *w, struct recv_buf *rb);

extern const struct fuse_lowlevel_ops fuse_meta_ops;

/* fuse_io.c */
void fio_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fio_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
	struct fuse_file_info *fi);
void fio_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* fuse_open.c */
void fop_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fop_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	struct fuse_file_info *fi);
void fop_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* fuse_meta.c */
/* A request to the coordinator on behalf of a FUSE request. */
struct fcall {
	struct node_call call;
	fuse_req_t req;
	struct fmount *mount;
	/* Answers req from the reply (status 0). */
	void (*reply)(struct fcall *f, struct csvp_in *in);
	uint64_t ino, off, parent; /* parent: READDIR from the start */
	size_t size;
	struct node_inode *ni;
	uint32_t open_flags;
	bool plus;
};
/* Begins a message of op for req. NULL: req was answered with ENOMEM. */
struct fcall *fcall_new(fuse_req_t req, enum csvp_op op,
	void (*reply)(struct fcall *f, struct csvp_in *in));
void fcall_send(struct fcall *f);
/* After req was answered. */
void fcall_free(struct fcall *f);
int64_t now_ns(void);
void attr_to_stat(struct stat *st, const struct csvp_attr *a);
void attr_to_entry(struct fuse_entry_param *e, const struct csvp_attr *a);

#endif
