/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CSVFS_FUSE_INTERNAL_H
#define CSVFS_FUSE_INTERNAL_H

#include <fuse_lowlevel.h>
#include <pthread.h>

#include "csvfs/fuse/fuse.h"
#include "csvfs/node/node.h"
#include "util/list.h"

/* A buffer that requests are received in. The bytes of a WRITE begin at a page border (F2). */
struct recv_buf {
	struct recv_buf *next;
	uint8_t *mem;
};

/* A request that libfuse 3.14 does not know, on its way as one that it does (fuse_raw.c). */
enum fuse_as { FUSE_AS_ITSELF, FUSE_AS_TMPFILE, FUSE_AS_STATX, FUSE_AS_INIT, FUSE_AS_PAGES };

/* Who takes requests: a worker, or the service thread, which has no queue and no buffers of its own. */
struct fworker {
	struct fmount *mount;
	struct node_worker nw;
	pthread_t thread;
	bool started;
	ev_io io;
	/* F3 */
	_Atomic bool watches;
	unsigned nr_idle; /* turns in a row in which there was little */
	unsigned nr_seen, nr_for_service, nr_for_worker; /* requests; since the last look at who leads */
	struct loop_work join;
	struct recv_buf *recv;	/* for the next request */
	struct recv_buf *spare; /* free ones */
	unsigned nr_spare;
	bool taken; /* the request that is being processed took recv */
	enum fuse_as as; /* what the request that is being processed is */
	unsigned nr_io; /* of its own requests: READ, WRITE, FSYNC */
	struct loop_work quit;
	bool quitting;
	ev_timer quit_timer;
};

struct fcall;

struct fmount {
	struct fmount_cfg cfg;
	struct node *node;
	struct fuse_session *se;
	bool mounted;
	bool resends; /* the kernel sends again what was not answered, if it is asked to (INIT) */
	_Atomic bool ended;
	_Atomic uint32_t nr_calls;   /* requests that the service thread will answer */
	_Atomic uint32_t nr_running; /* workers */
	uint32_t nr_workers;
	struct fworker *workers;
	struct fworker service; /* the service thread, as one who watches */
	_Atomic(struct fworker *) leader; /* F3; it alone changes it */
	pthread_mutex_t files_lock;
	dev_t dev; /* of the file system */
	struct list files; /* some may never be closed: a mount can be cut off */
	/* fuse_purge.c */
	_Atomic uint32_t nr_purges; /* until node_invalidated() */
	pthread_mutex_t purge_lock;
	pthread_cond_t purge_cond;
	struct list purges;
	bool purge_quit, purge_started;
	pthread_t purge_thread;
};

/* What the kernel has opened: fuse_file_info.fh. */
struct ffile {
	struct list link; /* fmount.files */
	struct node_inode *ni;
};
static inline struct ffile *ffile_of(const struct fuse_file_info *fi)
{
	return (struct ffile *)(uintptr_t)fi->fh;
}

/* Who processes requests on this thread. */
extern __thread struct fworker *fworker_self;

/* Room for any request; the payload of a WRITE may need to be moved to its page border. */
#define RECV_BYTES (NODE_IO_MAX_BYTES + 3u * 4096u)
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
void fop_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fop_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* Answers RELEASE, and frees what fop_open() has made. */
void open_end(fuse_req_t req, struct ffile *file);

/* fuse_lock.c */
void fop_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void fop_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
	int sleep);
void fop_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);
void fop_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fop_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* fuse_clone.c */
void fop_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
	struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
	struct fuse_file_info *fi_out, size_t len, int flags);
void fop_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_bytes, size_t out_bytes);

/* fuse_project.c */
/* What FS_IOC_FSGETXATTR and its like ask, and csvadm of projects. false: it is none of these. */
bool project_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, const void *in, size_t in_bytes,
	size_t out_bytes);

/* fuse_raw.c */
/* Before libfuse sees a request: makes it one that libfuse knows, if need be. */
enum fuse_as fraw_prepare(void *mem, size_t len);
/* kept: the node will be told when a is not true any more. */
void fraw_answer_statx(fuse_req_t req, const struct csvp_attr *a, bool kept);
void fraw_reply_statx(struct fcall *f, struct csvp_in *in);

/* The kernel's INIT offers mappings of files that are opened past the page cache: takes the offer in
 * the answer. To be called with the session mounted. */
int fraw_init(struct fmount *m) __attribute__((warn_unused_result));

/* fuse_purge.c */
int purge_start(struct fmount *m) __attribute__((warn_unused_result));
void purge_abort(struct fmount *m);
void purge_stop(struct fmount *m);

/* fuse_dead.c */
/* After this process has ended, another one answers all requests with EIO until the kernel has
 * unmounted, those that are under way now, too, and the shutdown ioctl with success: it is not to be
 * answered here. -EOPNOTSUPP: not with this kernel. -ENOMEM, as fork(2). */
int dead_start(struct fmount *m) __attribute__((warn_unused_result));

/* fuse_xattr.c */
void fop_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fop_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	int flags);
void fop_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void fop_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

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
	void *arg; /* of the handler; freed with this */
	uint32_t open_flags;
	bool plus;
	bool unnamed; /* CREATE: O_TMPFILE */
	bool dir;     /* OPEN: of a directory */
};
/* Begins a message of op for req. NULL: req was answered with ENOMEM. */
struct fcall *fcall_new(fuse_req_t req, enum csvp_op op,
	void (*reply)(struct fcall *f, struct csvp_in *in));
void fcall_send(struct fcall *f);
/* After req was answered. */
void fcall_free(struct fcall *f);
int64_t now_ns(void);
struct timespec to_timespec(struct le64 ns);
void attr_to_stat(struct stat *st, const struct csvp_attr *a);
void attr_to_entry(struct fuse_entry_param *e, const struct csvp_attr *a);
/* How long the kernel may go by a, in seconds (F4). kept: the node will be told when it changes. */
uint32_t attr_valid_s(const struct csvp_attr *a, bool kept);

#endif
