/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inodes that are open on this node: tokens, recalls, reassertion. */
#include <errno.h>
#include <stdlib.h>

#include "csvfs/node/node_internal.h"
#include "util/err.h"
#include "util/log.h"

#define REASSERT_PER_MSG 4096u

struct node_inode *inode_find(struct node *node, uint64_t ino)
{
	struct htab_node *n = htab_find(&node->inodes, ino);

	return n ? container_of(n, struct node_inode, hash) : NULL;
}

static struct node_inode *inode_new(struct node *node, uint64_t ino)
{
	struct node_inode *ni = calloc(1, sizeof(*ni));

	if (!ni)
		return NULL;
	ni->node = node;
	pthread_mutex_init(&ni->lock, NULL);
	list_init(&ni->waiters);
	list_init(&ni->fills);
	locks_init(ni);
	htab_insert(&node->inodes, ino, &ni->hash);
	return ni;
}

struct node_inode *node_open(struct node *node, uint64_t ino, bool *ret_first)
{
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (!ni)
		ni = inode_new(node, ino);
	if (ni)
		*ret_first = ni->opens++ == 0;
	pthread_mutex_unlock(&node->table_lock);
	return ni;
}

struct node_inode *node_opendir(struct node *node, uint64_t ino, bool *ret_first)
{
	struct csvp_attr attr;

	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (!ni)
		ni = inode_new(node, ino);
	if (ni) {
		bool first = ni->opens++ == 0;
		if (first && !ni->closing)
			ni->quiet = meta_getattr(&node->meta, ino, &attr);
		*ret_first = first && !ni->quiet;
	}
	pthread_mutex_unlock(&node->table_lock);
	return ni;
}

/* Pages that the kernel got. */
struct fill {
	struct list link;
	uint64_t off_bytes, len_bytes;
};

static void close_answered(struct node_call *call, int status, struct csvp_in *reply)
{
	free(call);
}

static void close_tell(struct node_inode *ni)
{
	struct node *node = ni->node;
	struct csvp_attr attr;

	if (meta_getattr(&node->meta, ni->hash.key, &attr) && node_atime_due(node, &attr, ni->read_ns))
		meta_forget(&node->meta, ni->hash.key); /* CLOSE will tell of a read */
	struct node_call *call = calloc(1, sizeof(*call));
	if (!call) {
		log_warn("inode %llu: no memory to close it; it stays open for the coordinator",
			(unsigned long long)ni->hash.key);
		return;
	}
	csvp_begin(&call->msg, CSVP_CLOSE, 0, 0, 0);
	struct csvp_close *body = csvp_put(&call->msg, sizeof(*body));
	if (body) {
		body->ino = le64_of(ni->hash.key);
		body->wrote_ns = le64_of(ni->wrote_ns);
		body->read_ns = le64_of(ni->read_ns);
		body->strict = le32_of(node->cfg.strictatime);
	}
	call->done = close_answered;
	client_call(node, call); /* an OPEN by who no longer finds it comes after it */
}

/* On the service thread, so that a recall never meets an inode that is being freed. An open that
 * came meanwhile keeps it. */
static void close_last(struct loop_work *work)
{
	struct node_inode *ni = container_of(work, struct node_inode, close_work);
	struct node *node = ni->node;

	pthread_mutex_lock(&node->table_lock);
	pthread_mutex_lock(&ni->lock);
	ni->close_waits = ni->recall_pending || ni->purging_all || ni->refresh_pending;
	pthread_mutex_unlock(&ni->lock);
	if (!ni->close_waits)
		ni->closing = false;
	bool last = ni->opens == 0 && !ni->close_waits, quiet = ni->quiet;
	if (last)
		htab_remove(&node->inodes, &ni->hash);
	pthread_mutex_unlock(&node->table_lock);
	if (!last)
		return;
	if (!quiet)
		close_tell(ni);
	assert(ni->inflight == 0 && list_empty(&ni->waiters));
	layout_clear(&ni->layout);
	while (!list_empty(&ni->fills)) { /* it was not waited for: the node has failed */
		struct fill *fill = list_entry(ni->fills.next, struct fill, link);
		list_del(&fill->link);
		free(fill);
	}
	locks_done(ni);
	pthread_mutex_destroy(&ni->lock);
	free(ni);
}

/* The count of opens fell. table_lock held. */
static void close_check(struct node_inode *ni)
{
	if (ni->opens || ni->closing)
		return;
	ni->closing = true;
	ni->close_work.fn = close_last;
	loop_post(ni->node->cfg.loop, &ni->close_work);
}

void node_close(struct node *node, struct node_inode *ni)
{
	pthread_mutex_lock(&node->table_lock);
	ni->opens--;
	close_check(ni);
	pthread_mutex_unlock(&node->table_lock);
}

void node_close_all(struct node *node)
{
	struct htab_node *n;

	pthread_mutex_lock(&node->table_lock);
	htab_for_each (n, &node->inodes) {
		struct node_inode *ni = container_of(n, struct node_inode, hash);
		ni->opens = 0;
		close_check(ni);
	}
	pthread_mutex_unlock(&node->table_lock);
}

void node_set_unnamed(struct node *node, struct node_inode *ni)
{
	pthread_mutex_lock(&node->table_lock);
	ni->unnamed = true;
	pthread_mutex_unlock(&node->table_lock);
}

bool node_is_unnamed(struct node *node, uint64_t ino)
{
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	bool unnamed = ni && ni->unnamed;
	pthread_mutex_unlock(&node->table_lock);
	return unnamed;
}

uint64_t node_wrote_ns(struct node *node, uint64_t ino)
{
	uint64_t ns = 0;

	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (ni) {
		pthread_mutex_lock(&ni->lock);
		ns = ni->wrote_ns;
		pthread_mutex_unlock(&ni->lock);
	}
	pthread_mutex_unlock(&node->table_lock);
	return ns;
}

uint64_t node_read_ns(struct node *node, uint64_t ino)
{
	uint64_t ns = 0;

	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (ni) {
		pthread_mutex_lock(&ni->lock);
		ns = ni->read_ns;
		pthread_mutex_unlock(&ni->lock);
	}
	pthread_mutex_unlock(&node->table_lock);
	return ns;
}

bool node_atime_due(const struct node *node, const struct csvp_attr *a, uint64_t read_ns)
{
	int64_t ns = (int64_t)read_ns, atime = (int64_t)le64_get(a->atime_ns);
	int64_t mtime = (int64_t)le64_get(a->mtime_ns), ctime = (int64_t)le64_get(a->ctime_ns);

	return ns > ctime && ns > atime &&
	       (node->cfg.strictatime || atime <= mtime || atime <= ctime ||
		       ns - atime >= CSV_ATIME_DAY_NS);
}

void node_atime_set(struct node *node, uint64_t ino)
{
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (ni) {
		pthread_mutex_lock(&ni->lock);
		ni->read_ns = 0;
		pthread_mutex_unlock(&ni->lock);
	}
	pthread_mutex_unlock(&node->table_lock);
}

bool node_noatime(const struct node *node)
{
	return node->cfg.noatime;
}

bool node_strictatime(const struct node *node)
{
	return node->cfg.strictatime;
}

void inode_was_read(struct node_inode *ni)
{
	if (!ni->node->cfg.noatime)
		ni->read_ns = clock_real_ns();
}

void inode_wrote(struct node_inode *ni)
{
	ni->wrote_ns = clock_real_ns();
}

void inode_wake(struct node_inode *ni)
{
	while (!list_empty(&ni->waiters)) {
		struct node_io *io = list_entry(ni->waiters.next, struct node_io, link);
		list_del(&io->link);
		io_restart(io);
	}
}

/* ---- recalls ---- */

static void callback_answer(struct node *node, enum csvp_op op, uint64_t xid, uint64_t wrote_ns, bool open)
{
	struct csvp_msg msg;

	if (!node->connected)
		return; /* it will be asked again; and HELLO is the first word on a new connection */
	csvp_begin(&msg, op, CSVP_REPLY, 0, xid);
	struct csvp_recall_reply *body = csvp_put(&msg, sizeof(*body));
	if (body)
		*body = (struct csvp_recall_reply){ le64_of(wrote_ns), .open = le32_of(open) };
	if (client_send(node, &msg))
		log_debug("answer to a recall was not sent: it will be asked again");
	csvp_free(&msg);
}

void recall_reply(struct node *node, enum csvp_op op, uint64_t xid, uint64_t wrote_ns)
{
	callback_answer(node, op, xid, wrote_ns, false);
}

void inode_forget(struct node *node, const struct csvp_hdr *hdr, uint64_t ino)
{
	uint64_t xid = le64_get(hdr->xid);
	bool open = false;

	meta_forget(&node->meta, ino);
	if (node->cfg.forgotten)
		node->cfg.forgotten(node->cfg.arg, ino);
	if (!xid)
		return;
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (ni && ni->quiet && node->connected) {
		ni->quiet = false;
		open = true;
	}
	pthread_mutex_unlock(&node->table_lock);
	callback_answer(node, CSVP_FORGET, xid, 0, open);
}

int inode_filled(struct node_inode *ni, uint64_t off_bytes, uint64_t len_bytes)
{
	ni->paged = !ni->node->cfg.no_purge;
	if (!ni->recall_purges)
		return 0;
	struct fill *fill = malloc(sizeof(*fill));
	if (!fill)
		return -ENOMEM;
	fill->off_bytes = off_bytes;
	fill->len_bytes = len_bytes;
	list_add_tail(&ni->fills, &fill->link);
	return 0;
}

/* I/O is held from now on: pages apart, what is under way ends. lock held. */
static void recall_hold(struct node_inode *ni)
{
	ni->recall_pending = true;
	ni->excl_wanted = NULL;
	inode_settle(ni);
}

/* Second step: purges where pages were read since it began. Unlocks and returns true if there is
 * something; node_invalidated() goes on then. */
static bool purge_next(struct node_inode *ni)
{
	struct node *node = ni->node;

	if (list_empty(&ni->fills))
		return false;
	struct fill *fill = list_entry(ni->fills.next, struct fill, link);
	list_del(&fill->link);
	uint64_t off = ni->purge_off = fill->off_bytes, len = ni->purge_len = fill->len_bytes;
	free(fill);
	inode_wake(ni); /* pages there that are being read, too: the purge waits for them */
	pthread_mutex_unlock(&ni->lock);
	node->cfg.invalidate(node->cfg.arg, ni->hash.key, off, len);
	return true;
}

/* The I/O under the token has drained: give it up, when the kernel has no pages any more. */
static void recall_apply(struct loop_work *work)
{
	struct node_inode *ni = container_of(work, struct node_inode, recall_work);
	struct node *node = ni->node;

	pthread_mutex_lock(&ni->lock);
	if (!ni->recall_pending || ni->inflight) { /* something came between; it will be posted again */
		ni->recall_posted = false;
		pthread_mutex_unlock(&ni->lock);
		return;
	}
	if (purge_next(ni))
		return;
	if (ni->recall_purges)
		ni->paged = ni->recall_purges = false;
	if (ni->mode != CSVP_NONE) /* what we do not have stays so */
		ni->mode = ni->recall_mode;
	if (ni->mode == CSVP_NONE)
		layout_clear(&ni->layout);
	else if (ni->mode == CSVP_WRITE)
		layout_keep_written(&ni->layout);
	uint64_t wrote_ns = ni->wrote_ns;
	ni->wrote_ns = 0;
	ni->recall_pending = ni->recall_posted = false;
	inode_wake(ni);
	pthread_mutex_unlock(&ni->lock);
	recall_reply(node, CSVP_RECALL, ni->recall_xid, wrote_ns);
	if (ni->close_waits)
		loop_defer(node->cfg.loop, &ni->close_work);
}

void node_invalidated(struct node *node, uint64_t ino)
{
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	pthread_mutex_unlock(&node->table_lock);
	if (!ni)
		return;
	pthread_mutex_lock(&ni->lock);
	if (ni->purging_all) {
		ni->purging_all = false;
		recall_hold(ni);
	} else if (ni->purge_len) {
		ni->purge_len = 0;
		ni->recall_posted = false;
		inode_settle(ni);
	}
	pthread_mutex_unlock(&ni->lock);
}

/* I/O has drained: what it went by is forgotten. */
static void refresh_apply(struct loop_work *work)
{
	struct node_inode *ni = container_of(work, struct node_inode, refresh_work);

	pthread_mutex_lock(&ni->lock);
	ni->refresh_posted = ni->refresh_pending = false;
	ni->mode = CSVP_NONE;
	layout_clear(&ni->layout);
	uint64_t wrote_ns = ni->wrote_ns;
	ni->wrote_ns = 0;
	inode_wake(ni);
	inode_settle(ni);
	pthread_mutex_unlock(&ni->lock);
	recall_reply(ni->node, CSVP_REFRESH, ni->refresh_xid, wrote_ns);
	if (ni->close_waits)
		loop_defer(ni->node->cfg.loop, &ni->close_work);
}

void inode_settle(struct node_inode *ni)
{
	if (ni->inflight)
		return;
	if (ni->refresh_pending) {
		if (ni->refresh_posted)
			return;
		ni->refresh_posted = true;
		ni->refresh_work.fn = refresh_apply;
		loop_post(ni->node->cfg.loop, &ni->refresh_work);
		return;
	}
	if (!ni->recall_pending || ni->recall_purges) /* pages pass a recall (N6) */
		inode_wake(ni);
	if (ni->recall_pending && !ni->recall_posted) {
		ni->recall_posted = true;
		ni->recall_work.fn = recall_apply;
		loop_post(ni->node->cfg.loop, &ni->recall_work);
	}
}

void inode_recall(struct node *node, const struct csvp_hdr *hdr, uint64_t ino, enum csvp_mode mode)
{
	node->stats.recalls++;
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	pthread_mutex_unlock(&node->table_lock);
	if (!ni) { /* closed: the CLOSE is on its way */
		recall_reply(node, CSVP_RECALL, le64_get(hdr->xid), 0);
		return;
	}
	pthread_mutex_lock(&ni->lock);
	/* One may be pending that a lost connection made them repeat, or of an earlier coordinator: the
	 * newest is what this one will believe. */
	ni->recall_xid = le64_get(hdr->xid);
	ni->recall_mode = mode;
	bool purge = ni->paged && !ni->recall_purges;
	if (purge) {
		node->stats.purges++;
		ni->recall_purges = ni->purging_all = true;
		ni->recall_pending = false;
		inode_wake(ni);
	} else if (!ni->recall_pending && !ni->purging_all) {
		recall_hold(ni);
	}
	pthread_mutex_unlock(&ni->lock);
	if (purge)
		node->cfg.invalidate(node->cfg.arg, ino, 0, 0);
}

void inode_refresh(struct node *node, const struct csvp_hdr *hdr, uint64_t ino)
{
	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	pthread_mutex_unlock(&node->table_lock);
	if (!ni) {
		recall_reply(node, CSVP_REFRESH, le64_get(hdr->xid), 0);
		return;
	}
	pthread_mutex_lock(&ni->lock);
	ni->refresh_xid = le64_get(hdr->xid);
	ni->refresh_pending = true;
	ni->excl_wanted = NULL;
	inode_settle(ni);
	pthread_mutex_unlock(&ni->lock);
}

void inode_times(struct node *node, const struct csvp_hdr *hdr, uint64_t ino)
{
	uint64_t wrote_ns = 0;

	pthread_mutex_lock(&node->table_lock);
	struct node_inode *ni = inode_find(node, ino);
	if (ni) {
		pthread_mutex_lock(&ni->lock);
		wrote_ns = ni->wrote_ns;
		pthread_mutex_unlock(&ni->lock);
	}
	pthread_mutex_unlock(&node->table_lock);
	recall_reply(node, CSVP_TIMES, le64_get(hdr->xid), wrote_ns);
}

int inodes_reassert(struct node *node)
{
	struct htab_node *n;
	struct csvp_msg msg;
	uint32_t nr = 0;
	int err = 0;

	csvp_begin(&msg, CSVP_REASSERT, 0, 0, 0);
	pthread_mutex_lock(&node->table_lock);
	htab_for_each (n, &node->inodes) {
		struct node_inode *ni = container_of(n, struct node_inode, hash);
		struct csvp_reassert *e = csvp_put(&msg, sizeof(*e));
		if (!e)
			break;
		pthread_mutex_lock(&ni->lock);
		e->ino = le64_of(n->key);
		e->mode = le32_of(ni->paged ? CSVP_EXCL : ni->mode);
		e->opens = le32_of(1);
		ni->quiet = false;
		/* A recall of before may never be repeated, and must not raise what we tell here
		 * ("read" to "write"): less than we told is always safe. */
		ni->recall_mode = CSVP_NONE;
		pthread_mutex_unlock(&ni->lock);
		if (++nr % REASSERT_PER_MSG)
			continue;
		err = client_send(node, &msg);
		csvp_free(&msg);
		if (err)
			break;
		csvp_begin(&msg, CSVP_REASSERT, 0, 0, 0);
	}
	pthread_mutex_unlock(&node->table_lock);
	if (!err && !csvp_hdr(&msg))
		err = -ENOMEM;
	if (!err) {
		csvp_hdr(&msg)->flags = le32_of(CSVP_LAST);
		err = client_send(node, &msg);
	}
	csvp_free(&msg);
	return err;
}

void inodes_fail(struct node *node)
{
	struct htab_node *n;

	pthread_mutex_lock(&node->table_lock);
	htab_for_each (n, &node->inodes) {
		struct node_inode *ni = container_of(n, struct node_inode, hash);
		pthread_mutex_lock(&ni->lock);
		inode_wake(ni);
		pthread_mutex_unlock(&ni->lock);
	}
	pthread_mutex_unlock(&node->table_lock);
}
