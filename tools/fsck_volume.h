/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A volume as fsck.csvfs holds it: claimed for this program alone, or only looked at. */
#ifndef TOOLS_FSCK_VOLUME_H
#define TOOLS_FSCK_VOLUME_H

#include "csvfs/core/fs.h"

struct bdev;
struct bdev_queue;
struct lm;
struct loop;

struct fsck_volume {
	const char *uri, *auth_file;
	bool look; /* write nothing: what is replayed and tried stays in memory */

	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue;
	struct lm *lm;
	struct csv_geometry geom;
	struct csv_fs *fs;
	bool coordinates; /* nobody else uses the volume any more */
	bool gone;	  /* fenced: somebody else took it */
	uint64_t replayed;
};

/* Opens the device, and claims the volume unless only to look. 0, or a negative code with *ret_why, a
 * sentence that the caller frees. Blocks. */
int fsck_open(struct fsck_volume *vol, char **ret_why) __attribute__((warn_unused_result, nonnull));
/* Replays the log. msg hears what is wrong with the log itself (*errors of it); reset: one that cannot
 * be replayed is emptied. -ERR_CORRUPT: it cannot, and is not. */
int fsck_engine_open(struct fsck_volume *vol, bool reset, void (*msg)(void *arg, const char *text),
	void *arg, uint64_t *ret_errors) __attribute__((warn_unused_result));
int fsck_engine_close(struct fsck_volume *vol) __attribute__((warn_unused_result));
void fsck_close(struct fsck_volume *vol);

#endif
