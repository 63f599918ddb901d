/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes a volume. The superblock and its copies are wiped first and written last, after a flush:
 * what was interrupted in between is no volume.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "blockdev/bdev.h"
#include "csvfs/core/core_internal.h"
#include "csvfs/core/group_internal.h"
#include "csvfs/core/inode_internal.h"
#include "journal/journal.h"
#include "util/checked.h"
#include "util/err.h"

#define DEFAULT_CLUSTER_BYTES 65536u
#define MAX_CLUSTER_BYTES (4u << 20)
#define JOURNAL_MIN_BYTES (4ull << 20)
#define JOURNAL_MAX_BYTES (128ull << 20)

/* ---- on paper ---- */

/* Whole groups are as large as leaves eight of them, up to 3.9 GiB. */
static uint32_t plan_bitmaps(uint64_t nr_blks)
{
	uint32_t nr = CSV_AG_NR_BITMAPS;

	while (nr > 1 && (uint64_t)nr * CSV_BITMAP_BITS * 8 > nr_blks)
		nr /= 2;
	return nr;
}

static int plan_journal(const struct csv_mkfs *opts, struct csv_geometry *geom)
{
	uint64_t bytes = opts->journal_bytes;

	if (bytes == 0)
		bytes = MAX(JOURNAL_MIN_BYTES,
			MIN(JOURNAL_MAX_BYTES, geom->nr_blks * CSV_BLOCK_BYTES / 64));
	geom->journal_blk = CSV_JOURNAL_BLK;
	geom->journal_nr_blks = bytes / CSV_BLOCK_BYTES;
	if (geom->journal_nr_blks < JNL_MIN_BLOCKS)
		return -EINVAL;
	return geom->journal_nr_blks > geom->nr_blks / 2 ? -ENOSPC : 0;
}

static void plan_groups(struct csv_geometry *geom)
{
	geom->ag_blks = (uint64_t)plan_bitmaps(geom->nr_blks) * CSV_BITMAP_BITS;
	geom->ag0_blk = ALIGN_UP(geom->journal_blk + geom->journal_nr_blks,
		(uint64_t)geom->cluster_blks);
	geom->nr_ags = csv_group_count(geom);
}

int csv_mkfs_plan(const struct csv_mkfs *opts, uint64_t size_bytes, struct csv_geometry *ret)
{
	uint32_t cluster = opts->cluster_bytes ? opts->cluster_bytes : DEFAULT_CLUSTER_BYTES;
	struct csv_geometry geom = {
		.nr_blks = size_bytes / CSV_BLOCK_BYTES,
		.cluster_blks = cluster / CSV_BLOCK_BYTES,
		.created_ns = clock_real_ns(),
	};
	int err;

	if (cluster < CSV_BLOCK_BYTES || cluster > MAX_CLUSTER_BYTES || (cluster & (cluster - 1)))
		return -EINVAL;
	if (opts->label && strlen(opts->label) >= sizeof(geom.label))
		return -EINVAL;
	if (size_bytes < CSV_MIN_BYTES)
		return -ENOSPC;
	if (size_bytes > INT64_MAX)
		return -EINVAL;
	if (opts->label)
		memcpy(geom.label, opts->label, strlen(opts->label));
	memcpy(geom.uuid, opts->uuid, sizeof(geom.uuid));
	memcpy(geom.key_id, opts->key_id, sizeof(geom.key_id));
	if (getrandom(&geom.hash_seed, sizeof(geom.hash_seed), 0) != sizeof(geom.hash_seed))
		return -EIO;
	err = plan_journal(opts, &geom);
	if (err)
		return err;
	plan_groups(&geom);
	*ret = geom;
	return 0;
}

/* ---- on the device ---- */

struct mkfs {
	struct bdev_queue *queue;
	const struct csv_geometry *geom;
	uint32_t nr_bitmaps;
	uint64_t root_node_blk; /* of the inode tree */
	uint64_t free_blks;	/* counted as groups are written */
	uint8_t *buf;
	uint64_t buf_blks;
};

static int write_blks(struct mkfs *m, uint64_t blk, uint64_t nr)
{
	return bdev_pwrite(m->queue, m->buf, nr * CSV_BLOCK_BYTES, blk * CSV_BLOCK_BYTES);
}

/* Block i of the buffer, zeroed, with what sealing does not fill in. */
static void *block_init(struct mkfs *m, uint64_t i, enum csv_blk_type type, uint64_t owner)
{
	struct csv_blk_hdr *h = (struct csv_blk_hdr *)(m->buf + i * CSV_BLOCK_BYTES);

	memset(h, 0, CSV_BLOCK_BYTES);
	h->type = le16_of(type);
	h->owner = le64_of(owner);
	return h;
}

static int seal(struct mkfs *m, uint64_t i, uint64_t blk)
{
	return csv_blk_seal(m->buf + i * CSV_BLOCK_BYTES, blk, m->geom, 0, 0);
}

static int zero_blks(struct mkfs *m, uint64_t blk, uint64_t nr)
{
	int err = 0;

	memset(m->buf, 0, MIN(nr, m->buf_blks) * CSV_BLOCK_BYTES);
	while (nr > 0 && !err) {
		uint64_t part = MIN(nr, m->buf_blks);

		err = write_blks(m, blk, part);
		blk += part;
		nr -= part;
	}
	return err;
}

static int wipe_supers(struct mkfs *m)
{
	uint64_t bytes = bdev_geom(bdev_queue_bdev(m->queue)).size_bytes;
	int err = zero_blks(m, CSV_SB_BLK, 1);

	if (!err)
		err = zero_blks(m, CSV_SB_COPY_BLK, 1);
	if (!err)
		err = zero_blks(m, bytes / CSV_BLOCK_BYTES - 1, 1);
	if (!err)
		err = zero_blks(m, m->geom->nr_blks - 1, 1);
	return err ? err : bdev_flush_sync(m->queue);
}

static int write_super(struct mkfs *m, uint64_t blk)
{
	int err;

	csv_super_encode(block_init(m, 0, CSV_BT_SUPER, 0), m->geom);
	err = seal(m, 0, blk);
	return err ? err : write_blks(m, blk, 1);
}

static int write_sessions(struct mkfs *m)
{
	for (uint32_t node = 1; node <= CSV_MAX_NODES; node++) {
		int err;

		block_init(m, 0, CSV_BT_SESSION, node);
		err = seal(m, 0, CSV_SESS_BLK + node - 1);
		if (!err)
			err = write_blks(m, CSV_SESS_BLK + node - 1, 1);
		if (err)
			return err;
	}
	return 0;
}

static int write_group(struct mkfs *m, uint64_t ag)
{
	const struct csv_geometry *geom = m->geom;
	uint64_t first = geom->ag0_blk + ag * geom->ag_blks;
	int err;

	m->free_blks += csv_group_image(m->buf, geom, ag, ag == 0 ? 1 : 0); /* root_node_blk */
	err = seal(m, 0, first);
	for (uint32_t i = 0; i < m->nr_bitmaps && !err; i++)
		err = seal(m, 1 + i, first + 1 + i);
	return err ? err : write_blks(m, first, 1 + m->nr_bitmaps);
}

/* The inode tree's one leaf, with the root directory. */
static int write_root_node(struct mkfs *m)
{
	struct csv_tree_node *n = block_init(m, 0, CSV_BT_TREE, CSV_OWNER_INODES);
	struct le64 now = le64_of(m->geom->created_ns);
	struct csv_inode_rec rec = {
		.mode = le32_of(S_IFDIR | 0755),
		.nlink = le32_of(2),
		.atime_ns = now,
		.mtime_ns = now,
		.ctime_ns = now,
		.btime_ns = now,
		.parent = le64_of(CSV_ROOT_INO),
		.kind = CSV_DATA_TREE,
	};
	uint32_t off = CSV_BLOCK_BYTES - sizeof(rec);
	int err;

	n->nr = le16_of(1);
	n->low = le16_of(off);
	n->slots[0] = (struct csv_tree_slot){ .key = le64_of(CSV_ROOT_INO), .off = le16_of(off),
		.len = le16_of(sizeof(rec)) };
	memcpy((uint8_t *)n + off, &rec, sizeof(rec));
	err = seal(m, 0, m->root_node_blk);
	return err ? err : write_blks(m, m->root_node_blk, 1);
}

static int write_root(struct mkfs *m)
{
	struct csv_root *root = block_init(m, 0, CSV_BT_ROOT, 0);
	int err;

	root->free_blks = le64_of(m->free_blks);
	root->next_ino = le64_of(CSV_ROOT_INO + 1);
	root->nr_inodes = le64_of(1);
	root->inodes.blk = le64_of(m->root_node_blk);
	err = seal(m, 0, CSV_ROOT_BLK);
	return err ? err : write_blks(m, CSV_ROOT_BLK, 1);
}

/* Everything but the superblocks. */
static int write_volume(struct mkfs *m, void (*progress)(void *arg, uint64_t done, uint64_t total),
	void *arg)
{
	const struct csv_geometry *geom = m->geom;
	int err = zero_blks(m, CSV_ROOT_BLK, CSV_SESS_BLK - CSV_ROOT_BLK);

	if (!err)
		err = zero_blks(m, CSV_SESS_BLK + CSV_MAX_NODES,
			CSV_JOURNAL_BLK - CSV_SESS_BLK - CSV_MAX_NODES);
	if (!err)
		err = write_sessions(m);
	if (!err)
		err = jnl_format(m->queue, geom->journal_blk, geom->journal_nr_blks, geom->uuid, 0);
	for (uint64_t ag = 0; ag < geom->nr_ags && !err; ag++) {
		err = write_group(m, ag);
		if (!err && progress)
			progress(arg, ag + 1, geom->nr_ags);
	}
	if (!err)
		err = write_root_node(m);
	return err ? err : write_root(m);
}

int csv_mkfs_write(struct bdev_queue *queue, const struct csv_geometry *geom,
	void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg)
{
	struct mkfs m = {
		.queue = queue,
		.geom = geom,
		.nr_bitmaps = geom->ag_blks / CSV_BITMAP_BITS,
		.root_node_blk = geom->ag0_blk + 1 + geom->ag_blks / CSV_BITMAP_BITS,
	};
	int err;

	if (bdev_geom(bdev_queue_bdev(queue)).size_bytes / CSV_BLOCK_BYTES < geom->nr_blks)
		return -ENOSPC;
	m.buf_blks = MAX(64, 1 + m.nr_bitmaps);
	m.buf = aligned_alloc(CSV_BLOCK_BYTES, m.buf_blks * CSV_BLOCK_BYTES);
	if (!m.buf)
		return -ENOMEM;
	err = wipe_supers(&m);
	if (!err)
		err = write_volume(&m, progress, arg);
	if (!err)
		err = bdev_flush_sync(queue);
	if (!err)
		err = write_super(&m, geom->nr_blks - 1);
	if (!err)
		err = write_super(&m, CSV_SB_COPY_BLK);
	if (!err)
		err = write_super(&m, CSV_SB_BLK);
	if (!err)
		err = bdev_flush_sync(queue);
	free(m.buf);
	return err;
}
