/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The running transaction: what it touched, before-images, commit and abort (T1 to T4, E1, E4). */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

void csv_txn_begin(struct csv_txn *txn, struct csv_fs *fs, bool had_checkpoint)
{
	assert(!txn->active && txn->nr_touched == 0);
	txn->fs = fs;
	txn->run++;
	txn->nr_writes = 0;
	txn->nr_forgets = 0;
	txn->hooks = NULL;
	txn->touch_seq = 0;
	txn->wait_buf = NULL;
	txn->wait_room = false;
	txn->wait_checkpoint = false;
	txn->had_checkpoint = had_checkpoint;
	txn->preflush = false;
	txn->limits = false;
	txn->nr_changed = 0;
	txn->active = true;
}

/* Makes room for one more in a list of buffers. */
static int grow(struct csv_buf ***list, uint32_t nr, uint32_t *max)
{
	uint32_t new_max = *max != 0 ? *max * 2 : 64;
	struct csv_buf **new_list;

	if (nr < *max)
		return 0;
	new_list = realloc(*list, new_max * sizeof(*new_list));
	if (new_list == NULL)
		return -ENOMEM;
	*list = new_list;
	*max = new_max;
	return 0;
}

/* Adds buf, of which the caller has a reference, to what this run has touched; takes that over. */
static void touch(struct csv_txn *txn, struct csv_buf *buf)
{
	if (buf->run == txn->run) {
		csv_buf_unref(&txn->fs->cache, buf);
		return;
	}
	buf->run = txn->run;
	txn->touched[txn->nr_touched++] = buf;
	if (buf->seq > txn->touch_seq)
		txn->touch_seq = buf->seq;
}

static bool blk_ok(const struct csv_txn *txn, uint64_t blk)
{
	if (blk < txn->fs->geom.nr_blks)
		return true;
	log_error("block %llu is outside of the volume", (unsigned long long)blk);
	return false;
}

/* The buffer of a block with valid content of this type. */
static int get(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, struct csv_buf **ret)
{
	struct csv_buf *buf;
	int err;

	assert(txn->active);
	if (!blk_ok(txn, blk))
		return -ERR_CORRUPT;
	err = grow(&txn->touched, txn->nr_touched, &txn->max_touched);
	if (err != 0)
		return err;
	err = csv_cache_get(txn->fs, blk, &buf);
	if (err != 0)
		return err;
	touch(txn, buf);
	if (buf->state == CSV_BUF_READING) {
		txn->wait_buf = buf;
		return -ERR_WAIT;
	}
	if (buf->type != type || buf->dead || buf->forgotten) {
		log_error("block %llu is %s where a %s should be", (unsigned long long)blk,
			buf->dead || buf->forgotten ? "free" : csv_blk_ops(buf->type)->name,
			csv_blk_ops(type)->name);
		return -ERR_CORRUPT;
	}
	*ret = buf;
	return 0;
}

int csv_txn_read(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, const void **ret)
{
	struct csv_buf *buf;
	int err = get(txn, blk, type, &buf);

	if (err == 0)
		*ret = buf->data;
	return err;
}

/* Keeps the before-image of buf, which this run has touched, unless it has it. */
static int keep_before(struct csv_txn *txn, struct csv_buf *buf)
{
	if (buf->written)
		return 0;
	if (txn->nr_writes == 0 && !jnl_has_room(txn->fs->jnl, JNL_TXN_MAX_BLOCKS)) {
		txn->wait_room = true;
		return -ERR_WAIT;
	}
	if (txn->nr_writes == JNL_TXN_MAX_BLOCKS) {
		log_error("an operation changes more than %u blocks", JNL_TXN_MAX_BLOCKS);
		return -EFBIG;
	}
	if (!buf->fresh) {
		buf->before = buf_get(txn->fs->cache.pool, CSV_BLOCK_BYTES);
		if (buf->before == NULL)
			return -ENOMEM;
		memcpy(buf->before, buf->data, CSV_BLOCK_BYTES);
		buf->before_type = buf->type;
		buf->before_dead = buf->dead;
	}
	buf->written = true;
	txn->writes[txn->nr_writes++] = buf;
	return 0;
}

int csv_txn_write(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, void **ret)
{
	struct csv_buf *buf;
	int err = get(txn, blk, type, &buf);

	if (err == 0)
		err = keep_before(txn, buf);
	if (err == 0)
		*ret = buf->data;
	return err;
}

/* The buffer for a block whose content does not matter. */
static int get_new(struct csv_txn *txn, uint64_t blk, struct csv_buf **ret)
{
	struct csv_cache *cache = &txn->fs->cache;
	struct csv_buf *buf = csv_cache_find(cache, blk);
	int err;

	err = grow(&txn->touched, txn->nr_touched, &txn->max_touched);
	if (err != 0)
		return err;
	if (buf == NULL) {
		buf = csv_cache_add(cache, blk, CSV_BUF_VALID);
		if (buf == NULL)
			return -ENOMEM;
		buf->fresh = true;
		buf->dead = true; /* until it is written: abort frees it */
		touch(txn, buf);
		*ret = buf;
		return 0;
	}
	if (buf->run == txn->run && !buf->forgotten && !buf->dead) {
		log_error("block %llu was allocated while it is in use", (unsigned long long)blk);
		return -ERR_CORRUPT;
	}
	csv_buf_ref(cache, buf);
	touch(txn, buf);
	if (buf->state == CSV_BUF_READING) { /* of what it was before */
		txn->wait_buf = buf;
		return -ERR_WAIT;
	}
	*ret = buf;
	return 0;
}

int csv_txn_new(struct csv_txn *txn, uint64_t blk, enum csv_blk_type type, uint64_t owner,
	void **ret)
{
	struct csv_blk_hdr *h;
	struct csv_buf *buf;
	int err;

	assert(txn->active);
	if (!blk_ok(txn, blk))
		return -ERR_CORRUPT;
	err = get_new(txn, blk, &buf);
	if (err == 0)
		err = keep_before(txn, buf);
	if (err != 0)
		return err;
	buf->dead = false;
	buf->forgotten = false;
	buf->type = (uint8_t)type;
	memset(buf->data, 0, CSV_BLOCK_BYTES);
	h = (struct csv_blk_hdr *)buf->data;
	h->magic = le32_of(CSV_MAGIC);
	h->type = le16_of((uint16_t)type);
	h->version = le16_of(1);
	h->blkno = le64_of(blk);
	h->owner = le64_of(owner);
	memcpy(h->uuid, txn->fs->geom.uuid, sizeof(h->uuid));
	*ret = buf->data;
	return 0;
}

void csv_txn_forget(struct csv_txn *txn, uint64_t blk)
{
	struct csv_buf *buf = csv_cache_find(&txn->fs->cache, blk);

	assert(txn->active);
	/* Nothing is wrong with a buffer that is left: csv_txn_new takes it over. */
	if (buf == NULL || buf->forgotten || buf->state != CSV_BUF_VALID ||
		grow(&txn->touched, txn->nr_touched, &txn->max_touched) != 0 ||
		grow(&txn->forgets, txn->nr_forgets, &txn->max_forgets) != 0)
		return;
	csv_buf_ref(&txn->fs->cache, buf);
	touch(txn, buf);
	buf->forgotten = true;
	txn->forgets[txn->nr_forgets++] = buf;
}

void csv_txn_preflush(struct csv_txn *txn)
{
	txn->preflush = true;
}

void csv_txn_changed(struct csv_txn *txn, uint64_t ino)
{
	for (uint32_t i = 0; i < MIN(txn->nr_changed, CSV_OP_CHANGED_MAX); i++)
		if (txn->changed[i] == ino)
			return;
	if (txn->nr_changed < CSV_OP_CHANGED_MAX)
		txn->changed[txn->nr_changed] = ino;
	txn->nr_changed++;
}

uint32_t csv_txn_nr_blks(const struct csv_txn *txn)
{
	return txn->nr_writes;
}

struct csv_fs *csv_txn_fs(const struct csv_txn *txn)
{
	return txn->fs;
}

void csv_txn_hook(struct csv_txn *txn, struct csv_txn_hook *hook)
{
	hook->next = txn->hooks;
	txn->hooks = hook;
}

int csv_txn_want_checkpoint(struct csv_txn *txn)
{
	if (txn->had_checkpoint)
		return -ENOSPC;
	txn->wait_checkpoint = true;
	return -ERR_WAIT;
}

/* ---- its end ---- */

static void restore(struct csv_buf *buf)
{
	if (buf->before != NULL) {
		memcpy(buf->data, buf->before, CSV_BLOCK_BYTES);
		buf->type = buf->before_type;
		buf->dead = buf->before_dead;
	} else if (buf->fresh) {
		buf->dead = true;
	}
}

static void put_before(struct csv_txn *txn, struct csv_buf *buf)
{
	if (buf->before != NULL)
		buf_put(txn->fs->cache.pool, buf->before, CSV_BLOCK_BYTES);
	buf->before = NULL;
	buf->written = false;
	buf->fresh = false;
}

/* Oldest first, as they were hooked in. */
static void commit_hooks(struct csv_txn *txn, uint64_t seq)
{
	struct csv_txn_hook *hook, *next, *order = NULL;

	for (hook = txn->hooks; hook != NULL; hook = next) {
		next = hook->next;
		hook->next = order;
		order = hook;
	}
	txn->hooks = NULL;
	for (hook = order; hook != NULL; hook = next) {
		next = hook->next;
		hook->commit(hook, seq);
	}
}

static int log_writes(struct csv_txn *txn, uint64_t *ret_seq)
{
	struct jnl *jnl = txn->fs->jnl;
	struct jnl_blk blks[JNL_TXN_MAX_BLOCKS];
	uint32_t nr = 0;
	uint64_t seq;
	int err;

	for (uint32_t i = 0; i < txn->nr_writes; i++) {
		struct csv_buf *buf = txn->writes[i];

		if (!buf->forgotten)
			blks[nr++] = (struct jnl_blk){ buf->node.key, buf->data };
	}
	if (nr == 0)
		return 0;
	err = jnl_commit(jnl, blks, nr, txn->preflush ? JNL_PREFLUSH : 0, &seq);
	if (err != 0)
		return err;
	for (uint32_t i = 0; i < txn->nr_writes; i++) {
		struct csv_buf *buf = txn->writes[i];

		if (buf->forgotten)
			continue;
		buf->seq = seq;
		/* Unless the compound was closed, and the block taken, within the call. */
		if (!buf->pinned && jnl_open_seq(jnl) == seq) {
			buf->pinned = true;
			csv_buf_ref(&txn->fs->cache, buf);
		}
	}
	*ret_seq = seq;
	return 0;
}

int csv_txn_commit(struct csv_txn *txn)
{
	uint64_t seq = txn->fs->last_seq;
	int err;

	assert(txn->active);
	if (txn->nr_writes != 0) {
		err = log_writes(txn, &seq);
		if (err != 0)
			return err;
		txn->fs->last_seq = seq;
		if (seq > txn->touch_seq)
			txn->touch_seq = seq;
	}
	for (uint32_t i = 0; i < txn->nr_forgets; i++) {
		struct csv_buf *buf = txn->forgets[i];

		if (!buf->forgotten)
			continue; /* allocated again */
		/* The open compound still wants what was committed to it, and well-formed. */
		restore(buf);
		buf->forgotten = false;
		buf->dead = true;
	}
	for (uint32_t i = 0; i < txn->nr_writes; i++)
		put_before(txn, txn->writes[i]);
	txn->active = false;
	commit_hooks(txn, seq);
	return 0;
}

void csv_txn_abort(struct csv_txn *txn)
{
	struct csv_txn_hook *hook, *next;

	assert(txn->active);
	for (hook = txn->hooks; hook != NULL; hook = next) {
		next = hook->next;
		hook->abort(hook);
	}
	txn->hooks = NULL;
	for (uint32_t i = 0; i < txn->nr_forgets; i++)
		txn->forgets[i]->forgotten = false;
	for (uint32_t i = 0; i < txn->nr_writes; i++) {
		restore(txn->writes[i]);
		put_before(txn, txn->writes[i]);
	}
	txn->active = false;
}

void csv_txn_end(struct csv_txn *txn, struct csv_buf ***ret_holds)
{
	struct csv_buf **holds = NULL;

	assert(!txn->active);
	if (ret_holds != NULL) {
		holds = malloc((txn->nr_touched + 1) * sizeof(*holds));
		*ret_holds = holds;
	}
	if (holds != NULL) {
		memcpy(holds, txn->touched, txn->nr_touched * sizeof(*holds));
		holds[txn->nr_touched] = NULL;
	} else {
		for (uint32_t i = 0; i < txn->nr_touched; i++)
			csv_buf_unref(&txn->fs->cache, txn->touched[i]);
	}
	txn->nr_touched = 0;
}

void csv_txn_free(struct csv_txn *txn)
{
	free(txn->touched);
	free(txn->forgets);
}
