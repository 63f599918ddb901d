/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The last results of each node's requests, so that a resend is answered and not carried out. */
#include <assert.h>
#include <string.h>

#include "csvfs/core/txn.h"
#include "util/err.h"
#include "util/log.h"

static int read_session(struct csv_txn *txn, uint32_t node, const struct csv_session **ret)
{
	uint64_t blk = CSV_SESS_BLK + node - 1;
	const struct csv_session *sess;
	int err;

	assert(node >= 1 && node <= CSV_MAX_NODES);
	err = csv_txn_read(txn, blk, CSV_BT_SESSION, (const void **)&sess);
	if (err)
		return err;
	if (le64_get(sess->h.owner) != node) {
		log_error("session block %llu is node %llu's, not node %u's",
			(unsigned long long)blk, (unsigned long long)le64_get(sess->h.owner), node);
		return -ERR_CORRUPT;
	}
	*ret = sess;
	return 0;
}

int csv_result_get(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	struct csv_result *ret)
{
	const struct csv_session *sess;
	const struct csv_session_slot *s;
	int err = read_session(txn, node, &sess);

	assert(slot < CSV_SESSION_SLOTS);
	if (err)
		return err;
	*ret = (struct csv_result){ 0 };
	if (le64_get(sess->generation) != generation)
		return 0;
	s = &sess->slots[slot];
	ret->seq = le64_get(s->seq);
	ret->op = le32_get(s->op);
	ret->status = (int32_t)le32_get(s->status);
	ret->ino = le64_get(s->ino);
	for (int i = 0; i < 5; i++)
		ret->aux[i] = le64_get(s->aux[i]);
	return 0;
}

int csv_result_put(struct csv_txn *txn, uint32_t node, uint64_t generation, uint32_t slot,
	const struct csv_result *result)
{
	const struct csv_session *old;
	struct csv_session *sess;
	struct csv_session_slot *s;
	int err = read_session(txn, node, &old);

	assert(slot < CSV_SESSION_SLOTS);
	if (!err)
		err = csv_txn_write(txn, CSV_SESS_BLK + node - 1, CSV_BT_SESSION, (void **)&sess);
	if (err)
		return err;
	if (le64_get(sess->generation) != generation) {
		memset(sess->slots, 0, sizeof(sess->slots));
		sess->generation = le64_of(generation);
	}
	s = &sess->slots[slot];
	s->seq = le64_of(result->seq);
	s->op = le32_of(result->op);
	s->status = le32_of((uint32_t)result->status);
	s->ino = le64_of(result->ino);
	for (int i = 0; i < 5; i++)
		s->aux[i] = le64_of(result->aux[i]);
	return 0;
}
