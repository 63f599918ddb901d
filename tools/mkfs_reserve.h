/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations that a former volume has left on a LUN. */
#ifndef TOOLS_MKFS_RESERVE_H
#define TOOLS_MKFS_RESERVE_H

#include <stdint.h>

struct bdev_queue;

/* How many keys are registered on the LUN; 0 also where it has no reservations. Blocks. */
uint32_t reserve_count(struct bdev_queue *queue);

/* Registers a key of our own and removes every other one, so that writes are let through; the caller
 * has made sure that nobody uses the LUN. Blocks. *ret_key is for reserve_drop(). */
int reserve_take(struct bdev_queue *queue, uint64_t *ret_key) __attribute__((warn_unused_result));

/* Removes our key again, and the reservation with it. */
void reserve_drop(struct bdev_queue *queue, uint64_t key);

#endif
