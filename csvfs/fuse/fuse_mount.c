/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mount itself and its worker threads. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mounts.h"

#define PAGE 4096u
/* struct fuse_in_header and struct fuse_write_in stand before the payload of a WRITE (F2). */
#define WRITE_HEADER_BYTES 80u
#define MAX_SPARE 64u
#define QUIT_TICK_S 0.02
/* F3 */
#define BATCH 16u
#define LITTLE 2u
#define MAX_IDLE 64u
#define LEAD_REQUESTS 64u /* looked at to find who should lead */
#define LEAD_MARGIN 4u    /* so that a few of the one kind do not take it away */

__thread struct fworker *fworker_self;

struct recv_buf *recv_get(struct fworker *w)
{
	struct recv_buf *rb = w->spare;

	if (rb) {
		w->spare = rb->next;
		w->nr_spare--;
		return rb;
	}
	rb = malloc(sizeof(*rb));
	if (rb)
		rb->mem = aligned_alloc(PAGE, RECV_BYTES);
	if (rb && !rb->mem) {
		free(rb);
		rb = NULL;
	}
	return rb;
}

void recv_put(struct fworker *w, struct recv_buf *rb)
{
	if (w->nr_spare >= MAX_SPARE) {
		free(rb->mem);
		free(rb);
		return;
	}
	rb->next = w->spare;
	w->spare = rb;
	w->nr_spare++;
}

static void mount_ended(struct fmount *m)
{
	if (!atomic_exchange(&m->ended, true))
		m->cfg.ended(m->cfg.arg);
}

/* w is to watch, too (F3). */
static void call(struct fworker *w)
{
	if (!atomic_exchange(&w->watches, true))
		loop_post(w->nw.loop, &w->join);
}

static void join_watch(struct loop_work *work)
{
	struct fworker *w = container_of(work, struct fworker, join);

	w->nr_idle = 0;
	w->nr_seen = w->nr_for_service = w->nr_for_worker = 0;
	if (!w->quitting)
		ev_io_start(loop_ev(w->nw.loop), &w->io);
}

/* There is more than w can do. */
static void call_next(struct fworker *w)
{
	struct fmount *m = w->mount;
	struct fworker *next = w == &m->service ? m->workers : w + 1;

	if (next < m->workers + m->nr_workers)
		call(next);
}

static void leave(struct fworker *w)
{
	ev_io_stop(loop_ev(w->nw.loop), &w->io);
	atomic_store(&w->watches, false);
	if (atomic_load(&w->mount->leader) == w) /* it became so meanwhile, and was not called */
		call(w);
}

/* The leader looks whether another one would have to hand over less. */
static void maybe_pass_lead(struct fworker *w)
{
	struct fmount *m = w->mount;
	bool service = w == &m->service;
	unsigned mine = service ? w->nr_for_service : w->nr_for_worker;
	unsigned others = service ? w->nr_for_worker : w->nr_for_service;
	struct fworker *next = service ? m->workers : &m->service;

	w->nr_seen = w->nr_for_service = w->nr_for_worker = 0;
	if (others <= 2 * mine + LEAD_MARGIN)
		return;
	atomic_store(&m->leader, next);
	call(next);
}

/* After a turn in which w took nr requests. */
static void found(struct fworker *w, unsigned nr)
{
	bool leads = atomic_load(&w->mount->leader) == w;

	w->nr_seen += nr;
	if (leads && w->nr_seen >= LEAD_REQUESTS)
		maybe_pass_lead(w);
	if (nr == BATCH)
		call_next(w);
	if (nr > LITTLE)
		w->nr_idle = 0;
	else if (++w->nr_idle >= MAX_IDLE && !leads)
		leave(w);
}

/* Takes requests while there are some, but gives the loop a turn between them now and then. */
static void fuse_ready(struct ev_loop *ev, ev_io *io, int revents)
{
	struct fworker *w = io->data;
	struct fuse_session *se = w->mount->se;
	unsigned nr;

	fworker_self = w;
	for (nr = 0; nr < BATCH && !fuse_session_exited(se) && !w->quitting; nr++) {
		if (!w->recv)
			w->recv = recv_get(w);
		if (!w->recv)
			return; /* no memory: requests wait until some are answered */
		struct fuse_buf buf = { .mem = w->recv->mem + PAGE - WRITE_HEADER_BYTES };
		int n = fuse_session_receive_buf(se, &buf);
		if (n <= 0)
			break;
		w->as = fraw_prepare(buf.mem, buf.size);
		fuse_session_process_buf(se, &buf);
		if (w->taken)
			w->recv = NULL;
		w->taken = false;
	}
	if (fuse_session_exited(se)) {
		ev_io_stop(ev, io);
		mount_ended(w->mount);
		return;
	}
	found(w, nr);
}

static void *worker_main(void *arg)
{
	struct fworker *w = arg;

	fworker_self = w;
	loop_run(w->nw.loop);
	atomic_fetch_sub(&w->mount->nr_running, 1);
	return NULL;
}

/* Its own requests are answered, and nothing works on its queue: the worker ends. */
static void quit_tick(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct fworker *w = timer->data;
	const struct fmount_cfg *cfg = &w->mount->cfg;

	if (w->nr_io || !cfg->queue_idle(cfg->arg, w->nw.queue))
		return;
	ev_timer_stop(ev, timer);
	bdev_queue_close(w->nw.queue);
	w->nw.queue = NULL;
	loop_stop(w->nw.loop);
}

static void worker_quit(struct loop_work *work)
{
	struct fworker *w = container_of(work, struct fworker, quit);
	struct ev_loop *ev = loop_ev(w->nw.loop);

	w->quitting = true;
	ev_io_stop(ev, &w->io);
	ev_timer_init(&w->quit_timer, quit_tick, 0.0, QUIT_TICK_S);
	w->quit_timer.data = w;
	ev_timer_start(ev, &w->quit_timer);
}

static void watch_init(struct fworker *w)
{
	ev_io_init(&w->io, fuse_ready, fuse_session_fd(w->mount->se), EV_READ);
	w->io.data = w;
	w->join.fn = join_watch;
}

static int worker_init(struct fmount *m, struct fworker *w)
{
	w->mount = m;
	w->nw.node = m->node;
	int err = loop_new(&w->nw.loop);
	if (!err)
		err = buf_pool_new(0, &w->nw.pool);
	if (!err)
		err = bdev_queue_open(m->cfg.bdev, w->nw.loop, &w->nw.queue);
	if (err)
		return err;
	watch_init(w);
	return 0;
}

static void recv_done(struct fworker *w)
{
	if (w->recv)
		recv_put(w, w->recv);
	while (w->spare) {
		struct recv_buf *rb = w->spare;
		w->spare = rb->next;
		free(rb->mem);
		free(rb);
	}
}

static void worker_done(struct fworker *w)
{
	if (!w->mount)
		return; /* a start that failed before its turn */
	const struct fmount_cfg *cfg = &w->mount->cfg;
	if (w->nw.loop && ev_is_active(&w->io))
		ev_io_stop(loop_ev(w->nw.loop), &w->io);
	while (w->nw.queue && !cfg->queue_idle(cfg->arg, w->nw.queue)) /* one that never ran */
		loop_run_once(w->nw.loop, true);
	bdev_queue_close(w->nw.queue);
	buf_pool_free(w->nw.pool);
	loop_free(w->nw.loop);
	recv_done(w);
	w->mount = NULL;
}

static int session_new(struct fmount *m)
{
	char *opts;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	bool root = geteuid() == 0;
	int err = 0;

	if (asprintf(&opts, "-ofsname=%s,subtype=csvfs,default_permissions%s%s%s%s%s", m->cfg.source,
		    m->cfg.allow_other ? ",allow_other" : "", m->cfg.readonly ? ",ro" : "",
		    root ? ",dev,suid" : "", m->cfg.flags ? "," : "",
		    m->cfg.flags ? m->cfg.flags : "") < 0)
		return -ENOMEM;
	for (char *c = strchr(opts, '=') + 1; *c && strncmp(c, ",subtype=", 9); c++)
		if (*c == ',')
			*c = ';'; /* would end the option */
	if (fuse_opt_add_arg(&args, "mount.csvfs") || fuse_opt_add_arg(&args, opts) ||
		(m->cfg.debug && fuse_opt_add_arg(&args, "-d")))
		err = -ENOMEM;
	free(opts);
	if (!err) {
		m->se = fuse_session_new(&args, &fuse_meta_ops, sizeof(fuse_meta_ops), m);
		if (!m->se)
			err = -EINVAL;
	}
	fuse_opt_free_args(&args);
	return err;
}

static int worker_start(struct fworker *w)
{
	atomic_fetch_add(&w->mount->nr_running, 1);
	int err = -pthread_create(&w->thread, NULL, worker_main, w);
	if (err)
		atomic_fetch_sub(&w->mount->nr_running, 1);
	w->started = !err;
	return err;
}

int fmount_start(const struct fmount_cfg *cfg, struct fmount **ret_mount)
{
	struct fmount *m = calloc(1, sizeof(*m));
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int err = -ENOMEM;

	if (!m)
		return -ENOMEM;
	m->cfg = *cfg;
	m->node = cfg->node;
	pthread_mutex_init(&m->files_lock, NULL);
	list_init(&m->files);
	pthread_mutex_init(&m->purge_lock, NULL);
	pthread_cond_init(&m->purge_cond, NULL);
	list_init(&m->purges);
	m->nr_workers = cfg->nr_workers ? cfg->nr_workers : (uint32_t)MIN(MAX(nr_cpus, 1), 4);
	if (!(bdev_geom(cfg->bdev).caps & BDEV_GLOBAL_FLUSH) && m->nr_workers > 1) {
		log_info("a flush of %s covers no other connection: one I/O thread",
			bdev_name(cfg->bdev));
		m->nr_workers = 1; /* fsync flushes one queue */
	}
	m->workers = calloc(m->nr_workers, sizeof(*m->workers));
	if (!m->workers)
		goto out;
	err = session_new(m);
	if (err)
		goto out;
	if (fuse_session_mount(m->se, cfg->mountpoint)) {
		err = errno ? -errno : -EIO;
		goto out;
	}
	m->mounted = true;
	err = mounts_dev(cfg->mountpoint, &m->dev);
	if (!err)
		err = fraw_init(m);
	if (!err)
		err = purge_start(m);
	if (err)
		goto out;
	int fd = fuse_session_fd(m->se);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
		err = -errno;
		goto out;
	}
	for (uint32_t i = 0; i < m->nr_workers && !err; i++)
		err = worker_init(m, &m->workers[i]);
	if (err)
		goto out;
	m->service.mount = m;
	m->service.nw.loop = cfg->loop;
	watch_init(&m->service);
	fworker_self = &m->service;
	atomic_store(&m->leader, m->workers);
	call(m->workers);
	for (uint32_t i = 0; i < m->nr_workers && !err; i++)
		err = worker_start(&m->workers[i]);
	if (err && m->workers[0].started) { /* who runs may have requests by now: go on with those */
		log_warn("fewer I/O threads than asked for: %s", err_str(err));
		err = 0;
	}
out:
	if (err) {
		fmount_free(m);
		return err;
	}
	*ret_mount = m;
	return 0;
}

void fmount_quit(struct fmount *m)
{
	atomic_store(&m->ended, true);
	purge_abort(m);
	m->service.quitting = true;
	ev_io_stop(loop_ev(m->cfg.loop), &m->service.io);
	for (uint32_t i = 0; i < m->nr_workers; i++) {
		struct fworker *w = &m->workers[i];
		w->quit.fn = worker_quit;
		if (w->started)
			loop_post(w->nw.loop, &w->quit);
	}
}

dev_t fmount_dev(const struct fmount *m)
{
	return m->dev;
}

bool fmount_is_idle(const struct fmount *m)
{
	return atomic_load(&m->nr_running) == 0 && atomic_load(&m->nr_calls) == 0 &&
		atomic_load(&m->nr_purges) == 0;
}

static int detach(void *arg, const struct mount_at *at)
{
	struct fmount *m = arg;

	if (strcmp(at->dir, m->cfg.mountpoint) && umount2(at->dir, MNT_DETACH | UMOUNT_NOFOLLOW))
		log_warn("%s: cannot be unmounted: %s", at->dir, strerror(errno));
	return 0;
}

/* The kernel has let go of it. */
static bool is_cut_off(const struct fmount *m)
{
	struct pollfd pfd = { .fd = fuse_session_fd(m->se) };

	return poll(&pfd, 1, 0) == 1 && pfd.revents & POLLERR;
}

/*
 * Wherever it was mounted from here (V4). Where it was mounted first something else may be by now, and
 * libfuse would unmount that, unless the file system is gone: then it just frees what it has.
 */
static void unmount(struct fmount *m)
{
	dev_t dev;

	if (geteuid() == 0 && mounts_each(m->dev, detach, m))
		log_warn("/proc/self/mountinfo cannot be read: a second mount may stay");
	if (is_cut_off(m) || (!mounts_dev(m->cfg.mountpoint, &dev) && dev == m->dev))
		fuse_session_unmount(m->se);
}

void fmount_free(struct fmount *m)
{
	if (!m)
		return;
	assert(fmount_is_idle(m));
	/* First those who watch the session's descriptor, which unmounting closes. */
	for (uint32_t i = 0; m->workers && i < m->nr_workers; i++)
		if (m->workers[i].started)
			pthread_join(m->workers[i].thread, NULL);
	if (m->service.mount) {
		ev_io_stop(loop_ev(m->cfg.loop), &m->service.io);
		loop_cancel(m->cfg.loop, &m->service.join);
		recv_done(&m->service);
		fworker_self = NULL;
	}
	purge_stop(m);
	if (m->mounted)
		unmount(m);
	for (uint32_t i = 0; m->workers && i < m->nr_workers; i++)
		worker_done(&m->workers[i]);
	if (m->se)
		fuse_session_destroy(m->se);
	while (!list_empty(&m->files)) {
		struct ffile *file = list_entry(m->files.next, struct ffile, link);
		list_del(&file->link);
		free(file);
	}
	pthread_mutex_destroy(&m->files_lock);
	pthread_mutex_destroy(&m->purge_lock);
	pthread_cond_destroy(&m->purge_cond);
	free(m->workers);
	free(m);
}
