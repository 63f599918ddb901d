/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The superblock: where everything else lies. Three copies, at the device's start and end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/core/core_internal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"

/* Features that this program knows. None has been given a bit so far. */
#define KNOWN_INCOMPAT 0ull

static bool is_pow2(uint64_t x)
{
	return x != 0 && (x & (x - 1)) == 0;
}

static const char *layout_wrong(const struct csv_super *sb, const struct csv_geometry *g)
{
	uint64_t ags_blks, left;

	if (g->nr_blks > UINT64_MAX / CSV_BLOCK_BYTES / 2)
		return "the volume is larger than a device can be";
	if (!is_pow2(g->cluster_blks) || g->cluster_blks > (4u << 20) / CSV_BLOCK_BYTES)
		return "the cluster size is no power of two up to 4 MiB";
	if (le32_get(sb->max_nodes) != CSV_MAX_NODES)
		return "unknown number of node slots";
	if (g->journal_blk < CSV_JOURNAL_BLK || g->journal_nr_blks < JNL_MIN_BLOCKS ||
		!range_ok(g->journal_blk, g->journal_nr_blks, g->nr_blks))
		return "the journal is outside of the volume";
	if (g->ag0_blk < g->journal_blk + g->journal_nr_blks || g->ag0_blk >= g->nr_blks)
		return "the first group is outside of the volume";
	if (le32_get(sb->ag_nr_bitmaps) == 0 || g->ag_blks > (1ull << 40))
		return "a wrong size of groups";
	/* All groups but the last are whole; that has room for its bitmaps, and one block more. */
	left = g->nr_blks - 1 - g->ag0_blk;
	if (g->nr_ags == 0 || checked_mul(g->nr_ags - 1, g->ag_blks, &ags_blks) ||
		ags_blks > left || left - ags_blks < 2 + g->ag_blks / CSV_BITMAP_BITS)
		return "a wrong number of groups";
	return NULL;
}

int csv_super_decode(const void *block, struct csv_geometry *ret, const char **why)
{
	const struct csv_super *sb = block;
	struct csv_geometry g = {
		.nr_blks = le64_get(sb->nr_blks),
		.cluster_blks = le32_get(sb->cluster_blks),
		.journal_blk = le64_get(sb->journal_blk),
		.journal_nr_blks = le64_get(sb->journal_nr_blks),
		.ag0_blk = le64_get(sb->ag0_blk),
		.nr_ags = le64_get(sb->nr_ags),
		.ag_blks = (uint64_t)le32_get(sb->ag_nr_bitmaps) * CSV_BITMAP_BITS,
		.hash_seed = le64_get(sb->hash_seed),
		.created_ns = le64_get(sb->created_ns),
		.feat_compat = le64_get(sb->feat_compat),
		.feat_ro_compat = le64_get(sb->feat_ro_compat),
		.feat_incompat = le64_get(sb->feat_incompat),
	};

	memcpy(g.uuid, sb->h.uuid, sizeof(g.uuid));
	memcpy(g.key_id, sb->key_id, sizeof(g.key_id));
	memcpy(g.label, sb->label, sizeof(g.label));
	if (memchr(g.label, 0, sizeof(g.label)) == NULL)
		*why = "the label does not end";
	else
		*why = layout_wrong(sb, &g);
	if (*why != NULL)
		return -ERR_CORRUPT;
	*ret = g;
	return 0;
}

void csv_super_encode(void *block, const struct csv_geometry *geom)
{
	struct csv_super *sb = block;

	sb->feat_compat = le64_of(geom->feat_compat);
	sb->feat_ro_compat = le64_of(geom->feat_ro_compat);
	sb->feat_incompat = le64_of(geom->feat_incompat);
	sb->nr_blks = le64_of(geom->nr_blks);
	sb->cluster_blks = le32_of(geom->cluster_blks);
	sb->max_nodes = le32_of(CSV_MAX_NODES);
	sb->journal_blk = le64_of(geom->journal_blk);
	sb->journal_nr_blks = le64_of(geom->journal_nr_blks);
	sb->ag0_blk = le64_of(geom->ag0_blk);
	sb->ag_nr_bitmaps = le32_of(geom->ag_blks / CSV_BITMAP_BITS);
	sb->nr_ags = le64_of(geom->nr_ags);
	sb->hash_seed = le64_of(geom->hash_seed);
	sb->created_ns = le64_of(geom->created_ns);
	memcpy(sb->key_id, geom->key_id, sizeof(sb->key_id));
	memcpy(sb->label, geom->label, sizeof(sb->label));
	sb->label[sizeof(sb->label) - 1] = 0;
}

/* One copy. -ERR_NOTCSV: not even the magic is there. */
static int read_copy(struct bdev_queue *queue, void *block, uint64_t blk, struct csv_geometry *ret)
{
	const struct csv_blk_hdr *h = block;
	const char *why;
	int err;

	err = bdev_pread(queue, block, CSV_BLOCK_BYTES, blk * CSV_BLOCK_BYTES);
	if (err != 0)
		return err;
	if (le32_get(h->magic) != CSV_MAGIC)
		return -ERR_NOTCSV;
	err = csv_super_check(block, blk, ret, &why);
	if (err != 0)
		log_warn("superblock in block %llu: %s", (unsigned long long)blk, why);
	return err;
}

int csv_super_read(struct bdev_queue *queue, struct csv_geometry *ret)
{
	uint64_t size_blks = bdev_geom(bdev_queue_bdev(queue)).size_bytes / CSV_BLOCK_BYTES;
	const uint64_t copies[] = { CSV_SB_BLK, CSV_SB_COPY_BLK, size_blks - 1 };
	struct csv_geometry geom;
	int err = -ERR_NOTCSV;
	void *block;

	if (size_blks <= CSV_JOURNAL_BLK)
		return -ERR_NOTCSV;
	block = aligned_alloc(CSV_BLOCK_BYTES, CSV_BLOCK_BYTES);
	if (block == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(copies); i++) {
		int copy_err = read_copy(queue, block, copies[i], &geom);

		/* "Damaged" says more than "nothing there", and "cannot be read" more than that. */
		if (copy_err == 0 || err == -ERR_NOTCSV ||
			(err == -ERR_CORRUPT && copy_err != -ERR_NOTCSV))
			err = copy_err;
		if (copy_err != 0)
			continue;
		if (i != 0)
			log_warn("the superblock is damaged, its copy in block %llu is used",
				(unsigned long long)copies[i]);
		break;
	}
	free(block);
	if (err != 0)
		return err;
	if ((geom.feat_incompat & ~KNOWN_INCOMPAT) != 0)
		return -ERR_VERSION;
	if (geom.nr_blks > size_blks)
		return -ENOSPC;
	*ret = geom;
	return 0;
}
