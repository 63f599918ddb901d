/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A check of a volume that is in use: reads only, a little at a time, while the engine serves (design
 * note in scrub.c). Everything on the engine's loop.
 */
#ifndef CSVFS_CORE_SCRUB_H
#define CSVFS_CORE_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

struct csv_fs;
struct csv_scrub;

struct csv_scrub_cfg {
	uint64_t bytes_per_s; /* of metadata looked at; 0 = as fast as it goes */
	void (*msg)(void *arg, const char *text); /* "code: ..." (docs/FORMAT.md, 12) */
	/* Once, with 0 or what ended it; not after csv_scrub_stop(). May call csv_scrub_stop(). */
	void (*done)(void *arg, int status);
	void *arg;
};

struct csv_scrub_status {
	uint64_t errors, inodes, blks; /* so far */
	uint64_t nr_inodes;	       /* that there are; 0 = not known yet */
};

/* fs is open. -ENOMEM. */
int csv_scrub_start(struct csv_fs *fs, const struct csv_scrub_cfg *cfg, struct csv_scrub **ret)
	__attribute__((warn_unused_result, nonnull));
void csv_scrub_status(const struct csv_scrub *scrub, struct csv_scrub_status *ret);
/* Ends and frees it, also one that is done; before csv_fs_close(). NULL is allowed. */
void csv_scrub_stop(struct csv_scrub *scrub);

#endif
