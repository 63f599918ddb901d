/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/bdev.h"
#include "lockmgr/lockmgr.h"
#include "lockmgr/lockmgr_format.h"
#include "tools/in_use.h"

/* Such a device does not open with O_EXCL. */
bool in_use_here(const char *uri)
{
	const char *path = !strncmp(uri, "file:", 5) ? uri + 5 : uri;
	struct stat st;

	if (path[0] != '/' || stat(path, &st) || !S_ISBLK(st.st_mode))
		return false;
	int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	bool busy = fd < 0 && errno == EBUSY;
	if (fd >= 0)
		close(fd);
	return busy;
}

static bool slot_live(const uint8_t block[4096], const uint8_t uuid[16])
{
	const struct lm_slot_blk *slot = (const struct lm_slot_blk *)block;

	return le32_get(slot->magic) == LM_SLOT_MAGIC && le16_get(slot->type) == LM_SLOT_TYPE &&
		!memcmp(slot->uuid, uuid, 16) && le32_get(slot->state) == LM_SLOT_LIVE;
}

uint32_t in_use_by_node(struct bdev_queue *queue, const uint8_t uuid[16])
{
	static uint8_t slots[2][LM_MAX_NODES][4096] __attribute__((aligned(4096)));

	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			sleep(3); /* three beats */
		if (bdev_pread(queue, slots[pass], sizeof(slots[pass]), 64 * 4096ull))
			return 0;
		bool any = false;
		for (uint32_t i = 0; i < LM_MAX_NODES; i++)
			any |= slot_live(slots[pass][i], uuid);
		if (!any)
			return 0;
	}
	for (uint32_t i = 0; i < LM_MAX_NODES; i++)
		if (slot_live(slots[1][i], uuid) && memcmp(slots[0][i], slots[1][i], 4096))
			return i + 1;
	return 0;
}
