/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservation keys (SPC-4 5.12): whose they are, and reading them all. */
#include <errno.h>
#include <stdlib.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/crc32c.h"

static uint64_t key_hash(const uint8_t uuid[16])
{
	uint32_t crc = crc32c(0, uuid, 16);

	return (crc ^ crc >> 16) & 0xffff;
}

uint64_t lm_key_make(const uint8_t uuid[16], uint32_t node, uint64_t generation)
{
	return key_hash(uuid) << LM_KEY_HASH_SHIFT | (uint64_t)node << LM_KEY_NODE_SHIFT |
		(generation & 0xffffffff);
}

uint32_t lm_key_node(const uint8_t uuid[16], uint64_t key)
{
	uint32_t node = (uint32_t)(key >> LM_KEY_NODE_SHIFT) & 0xffff;

	return key >> LM_KEY_HASH_SHIFT == key_hash(uuid) && node <= LM_MAX_NODES ? node : 0;
}

void lm_keys_done(struct lm_keys *keys)
{
	free(keys->keys);
	*keys = (struct lm_keys){ 0 };
}

bool lm_keys_has(const struct lm_keys *keys, uint64_t key)
{
	for (uint32_t i = 0; i < keys->nr; i++)
		if (keys->keys[i] == key)
			return true;
	return false;
}

void lm_keys_read(struct lm_keys *keys, struct lm_io *io, struct bdev_queue *queue, uint32_t flags,
	void (*fn)(struct lm_io *io, int status))
{
	struct bdev_pr pr = { .keys = keys->keys, .max_keys = keys->max };

	lm_io_cmd(io, queue, BDEV_PR_READ_KEYS, &pr, flags, fn);
}

int lm_keys_take(struct lm_keys *keys, struct lm_io *io, int status)
{
	uint32_t nr = io->req.pr.nr_keys, max;
	uint64_t *grown;

	if (status)
		return status;
	if (nr <= keys->max) {
		keys->nr = nr;
		return 0;
	}
	/* One key for each nexus: 64 nodes with 1,000 queues each would still be ours to count. */
	if (nr > 64 * 1024)
		return -EREMOTEIO;
	max = MAX(nr + nr / 2, 64);
	grown = reallocarray(keys->keys, max, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	keys->keys = grown;
	keys->max = max;
	return -EAGAIN;
}
