/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a device in use by somebody else? */
#ifndef TOOLS_IN_USE_H
#define TOOLS_IN_USE_H

#include <stdbool.h>
#include <stdint.h>

struct bdev_queue;

/* True if a local block device is mounted, or used by the device mapper or a swap. */
bool in_use_here(const char *uri);

/* The number of a node that uses the volume with this UUID: its slot says LIVE, and its beat moves. 0 =
 * nobody does. Blocks, 3 s if a slot says LIVE. */
uint32_t in_use_by_node(struct bdev_queue *queue, const uint8_t uuid[16]);

#endif
