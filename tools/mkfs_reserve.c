/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <sys/random.h>

#include "blockdev/bdev.h"
#include "tools/mkfs_reserve.h"
#include "util/checked.h"

#define MAX_KEYS 256u

static int read_keys(struct bdev_queue *queue, uint64_t *keys, uint32_t *ret_nr)
{
	struct bdev_req req = { .op = BDEV_PR_READ_KEYS, .flags = BDEV_GATE };

	req.pr.keys = keys;
	req.pr.max_keys = MAX_KEYS;
	int err = bdev_sync(queue, &req);
	if (!err)
		*ret_nr = req.pr.nr_keys;
	return err;
}

uint32_t reserve_count(struct bdev_queue *queue)
{
	uint64_t keys[MAX_KEYS];
	uint32_t nr = 0;

	if (!(bdev_geom(bdev_queue_bdev(queue)).caps & BDEV_CAN_PR) || read_keys(queue, keys, &nr))
		return 0;
	return nr;
}

static int register_key(struct bdev_queue *queue, uint64_t old, uint64_t new_key)
{
	struct bdev_req req = { .op = BDEV_PR_REGISTER, .flags = BDEV_GATE };

	req.pr.key = old;
	req.pr.new_key = new_key;
	return bdev_sync(queue, &req);
}

int reserve_take(struct bdev_queue *queue, uint64_t *ret_key)
{
	uint64_t keys[MAX_KEYS], key = 0;
	uint32_t nr;

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	key |= 1;
	int err = register_key(queue, 0, key);
	if (!err)
		err = read_keys(queue, keys, &nr);
	for (uint32_t i = 0; !err && i < MIN(nr, MAX_KEYS); i++) {
		struct bdev_req req = { .op = BDEV_PR_PREEMPT, .flags = BDEV_GATE };
		if (keys[i] == key)
			continue;
		req.pr.key = key;
		req.pr.victim = keys[i];
		req.pr.type = BDEV_PR_WRITE_EXCLUSIVE_ALL;
		err = bdev_sync(queue, &req);
		if (err == -EBUSY) /* gone already: one key may be on several nexus */
			err = 0;
	}
	if (!err)
		*ret_key = key;
	return err;
}

void reserve_drop(struct bdev_queue *queue, uint64_t key)
{
	/* The last registration takes an all-registrants reservation with it (SPC-4 5.12.11.2). */
	if (register_key(queue, key, 0))
		return;
}
