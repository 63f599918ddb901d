/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a block of each type must look like (T3). Reading: checksum, header, structure. Sealing for
 * the log: structure, then header and checksum.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "csvfs/core/btree.h"
#include "csvfs/core/core_internal.h"
#include "util/checked.h"
#include "util/crc32c.h"
#include "util/err.h"
#include "util/log.h"

static int wrong(const char **why, const char *text)
{
	*why = text;
	return -ERR_CORRUPT;
}

static uint64_t blkno(const void *block)
{
	return le64_get(((const struct csv_blk_hdr *)block)->blkno);
}

static uint64_t owner(const void *block)
{
	return le64_get(((const struct csv_blk_hdr *)block)->owner);
}

static int super_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	struct csv_geometry decoded;

	return csv_super_decode(block, &decoded, why);
}

/* None will be reached; above all the owners of other trees must not. */
#define MAX_INO (1ull << 62)

static bool tree_root_ok(const struct csv_tree_root *root, const struct csv_geometry *geom)
{
	uint64_t blk = le64_get(root->blk);

	if (blk == 0)
		return root->level == 0;
	return root->level <= CSV_TREE_MAX_LEVEL && blk >= geom->ag0_blk && blk < geom->nr_blks;
}

static int root_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	const struct csv_root *root = block;

	if (blkno(block) != CSV_ROOT_BLK)
		return wrong(why, "a root block in a wrong place");
	if (le64_get(root->free_blks) > geom->nr_blks)
		return wrong(why, "more free blocks than blocks");
	if (le64_get(root->next_ino) <= CSV_ROOT_INO || le64_get(root->next_ino) >= MAX_INO)
		return wrong(why, "the next inode number cannot be");
	if (le64_get(root->nr_inodes) >= le64_get(root->next_ino))
		return wrong(why, "more inodes than numbers given out");
	if (!tree_root_ok(&root->inodes, geom) || !tree_root_ok(&root->orphans, geom) ||
		!tree_root_ok(&root->shares, geom) || !tree_root_ok(&root->quotas, geom))
		return wrong(why, "a tree root outside of the allocation groups");
	return 0;
}

/* Where a block lies in its allocation group; false outside of all groups. */
static bool ag_pos(const struct csv_geometry *geom, uint64_t blk, uint64_t *ret_ag, uint64_t *ret_off)
{
	if (blk < geom->ag0_blk || (blk - geom->ag0_blk) / geom->ag_blks >= geom->nr_ags)
		return false;
	*ret_ag = (blk - geom->ag0_blk) / geom->ag_blks;
	*ret_off = (blk - geom->ag0_blk) % geom->ag_blks;
	return true;
}

static int ag_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	const struct csv_ag *ag = block;
	uint64_t nr, off, nr_blks = le64_get(ag->nr_blks);

	if (!ag_pos(geom, blkno(block), &nr, &off) || off != 0)
		return wrong(why, "a group header in a wrong place");
	if (nr_blks != MIN(geom->nr_blks - 1 - blkno(block), geom->ag_blks))
		return wrong(why, "a group of a wrong size");
	if (le64_get(ag->free_blks) > nr_blks)
		return wrong(why, "more free blocks than blocks in the group");
	return 0;
}

static int bitmap_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	uint64_t nr, off;

	if (!ag_pos(geom, blkno(block), &nr, &off) || off < 1 ||
		off > geom->ag_blks / CSV_BITMAP_BITS)
		return wrong(why, "a bitmap in a wrong place");
	if (owner(block) != nr)
		return wrong(why, "a bitmap of another group");
	return 0;
}

static int session_verify(const void *block, const struct csv_geometry *geom, const char **why)
{
	uint64_t blk = blkno(block);

	if (blk < CSV_SESS_BLK || blk >= CSV_SESS_BLK + CSV_MAX_NODES)
		return wrong(why, "a session block in a wrong place");
	if (owner(block) != blk - CSV_SESS_BLK + 1)
		return wrong(why, "a session block of another node");
	return 0;
}

static const struct csv_blk_ops blk_ops[] = {
	{ "superblock", CSV_BT_SUPER, super_verify },
	{ "root block", CSV_BT_ROOT, root_verify },
	{ "group header", CSV_BT_AG, ag_verify },
	{ "bitmap", CSV_BT_BITMAP, bitmap_verify },
	{ "tree node", CSV_BT_TREE, csv_tree_node_verify },
	{ "session block", CSV_BT_SESSION, session_verify },
};

const struct csv_blk_ops *csv_blk_ops(enum csv_blk_type type)
{
	for (size_t i = 0; i < ARRAY_SIZE(blk_ops); i++)
		if (blk_ops[i].type == type)
			return &blk_ops[i];
	return NULL;
}

static uint32_t used_bytes(enum csv_blk_type type)
{
	switch (type) {
	case CSV_BT_SUPER:
		return sizeof(struct csv_super);
	case CSV_BT_ROOT:
		return sizeof(struct csv_root);
	case CSV_BT_AG:
		return sizeof(struct csv_ag);
	default:
		return CSV_BLOCK_BYTES;
	}
}

static uint16_t version_of(const struct csv_blk_hdr *h)
{
	bool quotas = le16_get(h->type) == CSV_BT_ROOT &&
		      le64_get(((const struct csv_root *)(const void *)h)->quotas.blk) != 0;

	return quotas ? CSV_ROOT_VERSION_QUOTAS : 1;
}

static uint32_t checksum(const void *block)
{
	static const struct le32 zero;
	const uint8_t *bytes = block;
	const size_t at = offsetof(struct csv_blk_hdr, crc);
	uint32_t crc;

	crc = crc32c(0, bytes, at);
	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, bytes + at + sizeof(zero), CSV_BLOCK_BYTES - at - sizeof(zero));
}

static int header_verify(const struct csv_blk_hdr *h, uint64_t blk, const uint8_t uuid[16],
	const char **why)
{
	if (le32_get(h->magic) != CSV_MAGIC)
		return wrong(why, "no metadata block (magic)");
	if (le32_get(h->crc) != checksum(h))
		return wrong(why, "wrong checksum");
	if (le64_get(h->blkno) != blk)
		return wrong(why, "it belongs elsewhere (misplaced write?)");
	if (memcmp(h->uuid, uuid, sizeof(h->uuid)) != 0)
		return wrong(why, "it belongs to another volume");
	if (le16_get(h->version) != 1 && (le16_get(h->version) != CSV_ROOT_VERSION_QUOTAS ||
						 le16_get(h->type) != CSV_BT_ROOT))
		return wrong(why, "unknown version of the block type");
	return 0;
}

int csv_hdr_verify(const void *block, uint64_t blk, enum csv_blk_type type, const uint8_t uuid[16],
	const char **why)
{
	int err = header_verify(block, blk, uuid, why);

	if (err == 0 && le16_get(((const struct csv_blk_hdr *)block)->type) != type)
		err = wrong(why, "wrong type");
	return err;
}

int csv_blk_verify(const void *block, uint64_t blk, enum csv_blk_type type,
	const struct csv_geometry *geom)
{
	const struct csv_blk_hdr *h = block;
	const struct csv_blk_ops *ops = csv_blk_ops(type);
	const char *why = "";
	int err;

	err = header_verify(h, blk, geom->uuid, &why);
	if (err == 0 && (ops == NULL || le16_get(h->type) != type))
		err = wrong(&why, "wrong type");
	if (err == 0 && le32_get(h->len) != used_bytes(type))
		err = wrong(&why, "wrong length");
	if (err == 0)
		err = ops->verify(block, geom, &why);
	if (err != 0)
		log_error("block %llu (%s): %s", (unsigned long long)blk,
			ops != NULL ? ops->name : "?", why);
	return err;
}

int csv_blk_seal(void *block, uint64_t blk, const struct csv_geometry *geom, uint64_t epoch,
	uint64_t seq)
{
	struct csv_blk_hdr *h = block;
	enum csv_blk_type type = le16_get(h->type);
	const struct csv_blk_ops *ops = csv_blk_ops(type);
	const char *why = "unknown type";
	int err = -ERR_CORRUPT;

	h->magic = le32_of(CSV_MAGIC);
	h->version = le16_of(version_of(h));
	h->len = le32_of(used_bytes(type));
	h->blkno = le64_of(blk);
	memcpy(h->uuid, geom->uuid, sizeof(h->uuid));
	h->epoch = le64_of(epoch);
	h->seq = le64_of(seq);
	if (ops != NULL)
		err = ops->verify(block, geom, &why);
	if (err != 0) {
		log_error("block %llu (%s) is wrong in memory, not written: %s",
			(unsigned long long)blk, ops != NULL ? ops->name : "?", why);
		return err;
	}
	h->crc = le32_of(checksum(block));
	return 0;
}

/* Without geometry: is this a superblock that was written for block blk? */
int csv_super_check(const void *block, uint64_t blk, struct csv_geometry *ret, const char **why)
{
	const struct csv_blk_hdr *h = block;
	int err;

	err = header_verify(h, blk, h->uuid, why);
	if (err == 0 && (le16_get(h->type) != CSV_BT_SUPER ||
				le32_get(h->len) != used_bytes(CSV_BT_SUPER)))
		err = wrong(why, "no superblock");
	if (err == 0)
		err = csv_super_decode(block, ret, why);
	return err;
}
