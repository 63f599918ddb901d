/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Has the kernel write back and drop pages of mappings (node.h, N6). That waits for FUSE requests that
 * our other threads answer, so it has a thread of its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mounts.h"

struct purge {
	struct list link;
	struct loop_work work;
	struct fmount *mount;
	uint64_t ino, off_bytes, len_bytes;
};

static void purge_done(struct loop_work *work)
{
	struct purge *p = container_of(work, struct purge, work);
	struct fmount *m = p->mount;
	uint64_t ino = p->ino;

	free(p);
	node_invalidated(m->node, ino);
	atomic_fetch_sub(&m->nr_purges, 1);
}

static void *purge_main(void *arg)
{
	struct fmount *m = arg;

	pthread_mutex_lock(&m->purge_lock);
	for (;;) {
		while (list_empty(&m->purges) && !m->purge_quit)
			pthread_cond_wait(&m->purge_cond, &m->purge_lock);
		if (list_empty(&m->purges))
			break;
		struct purge *p = list_entry(m->purges.next, struct purge, link);
		list_del(&p->link);
		pthread_mutex_unlock(&m->purge_lock);
		/* -ENOENT: the kernel does not know the inode, so it has no pages. */
		int err = fuse_lowlevel_notify_inval_inode(m->se, p->ino, (off_t)p->off_bytes,
			(off_t)p->len_bytes);
		if (err && err != -ENOENT && !atomic_load(&m->ended))
			log_warn("inode %llu: pages were not dropped: %s", (unsigned long long)p->ino,
				err_str(err));
		p->work.fn = purge_done;
		loop_post(m->cfg.loop, &p->work);
		pthread_mutex_lock(&m->purge_lock);
	}
	pthread_mutex_unlock(&m->purge_lock);
	return NULL;
}

int fmount_purge(struct fmount *m, uint64_t ino, uint64_t off_bytes, uint64_t len_bytes)
{
	struct purge *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->mount = m;
	p->ino = ino;
	p->off_bytes = off_bytes;
	p->len_bytes = len_bytes;
	list_init(&p->link);
	atomic_fetch_add(&m->nr_purges, 1);
	pthread_mutex_lock(&m->purge_lock);
	list_add_tail(&m->purges, &p->link);
	pthread_cond_signal(&m->purge_cond);
	pthread_mutex_unlock(&m->purge_lock);
	if (atomic_load(&m->ended))
		purge_abort(m);
	return 0;
}

void fmount_root_changed(struct fmount *m)
{
	/* off < 0: attributes alone, no page is waited for. The kernel always knows the root. */
	int err = fuse_lowlevel_notify_inval_inode(m->se, FUSE_ROOT_ID, -1, 0);

	if (err && !atomic_load(&m->ended))
		log_warn("%s: its attributes were not dropped: %s", m->cfg.mountpoint, err_str(err));
}

int purge_start(struct fmount *m)
{
	int err = -pthread_create(&m->purge_thread, NULL, purge_main, m);

	m->purge_started = !err;
	return err;
}

/* One of its mounts does for all. */
static int force(void *arg, const struct mount_at *at)
{
	return umount2(at->dir, MNT_FORCE) ? -errno : 1;
}

void purge_abort(struct fmount *m)
{
	/* Nobody reads requests any more: what the purge waits for ends in an error. Once it is
	 * unmounted, something else may be there. */
	if (!atomic_load(&m->nr_purges) || fuse_session_exited(m->se))
		return;
	int err = mounts_each(m->dev, force, NULL);
	if (err < 0 && err != -EBUSY)
		log_warn("%s: pages of mappings are still being dropped: %s", m->cfg.mountpoint,
			err_str(err));
}

void purge_stop(struct fmount *m)
{
	if (!m->purge_started)
		return;
	pthread_mutex_lock(&m->purge_lock);
	m->purge_quit = true;
	pthread_cond_signal(&m->purge_cond);
	pthread_mutex_unlock(&m->purge_lock);
	pthread_join(m->purge_thread, NULL);
	m->purge_started = false;
}
