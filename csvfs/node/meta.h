/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this node keeps of what the coordinator said: attributes, names, listings (docs/DESIGN.md, 5).
 *
 * K1  Something is kept only from a reply that allows it (CSVP_KEEP_*), until a FORGET comes for its
 *     inode, or the channel begins anew. Replies and FORGETs are taken in the order in which they
 *     come, on the service thread.
 * K2  What is found here was true when it was asked for: nobody has been told yet of a change that
 *     it does not show.
 * K3  Memory is bounded: what was used longest ago goes first.
 * K4  An answer that contradicts what is kept may overtake the FORGET: the inode that was asked
 *     about is forgotten, so that who tries again asks the coordinator.
 *
 * Any thread may look; one lock guards all of it.
 */
#ifndef CSVFS_NODE_META_H
#define CSVFS_NODE_META_H

#include <pthread.h>

#include "csvfs/proto/proto.h"
#include "util/htab.h"
#include "util/list.h"

struct meta {
	pthread_mutex_t lock;
	struct htab inodes, names;
	struct list lru; /* of inodes; the newest is last */
	uint64_t bytes;
	uint64_t hits;
};

void meta_init(struct meta *m);
void meta_done(struct meta *m);
void meta_clear(struct meta *m);
/* From the answer to request, of the given status: keeps what it may, forgets what it contradicts. */
void meta_learn(struct meta *m, const struct csvp_msg *request, int status, struct csvp_in reply);
void meta_forget(struct meta *m, uint64_t ino);

/* Each: false if it is not known. */
bool meta_getattr(struct meta *m, uint64_t ino, struct csvp_attr *ret);
/* *ret_status: 0 or -ENOENT. */
bool meta_lookup(struct meta *m, uint64_t dir, const char *name, uint32_t len, struct csvp_attr *ret,
	int *ret_status);
/* The body of READDIR's reply for what follows the cookie after; *ret is the caller's, to free. */
bool meta_readdir(struct meta *m, uint64_t dir, uint64_t after, uint8_t **ret, uint32_t *ret_len);

#endif
