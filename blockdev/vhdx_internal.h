/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VHDX disk images, fixed and dynamic, as a filter: vhdx_open.c (opening, checks), vhdx_log.c (the log:
 * replay, entries), vhdx_txn.c (changes of the BAT), vhdx.c (requests), vhdx_make.c (making).
 *
 * X1  The BAT changes by transactions, one at a time (`busy`). Who needs a change waits in `waiters`;
 *     a transaction takes as many of them as it can, and their queues are told when it is over. Then
 *     each looks at bat[] again, for a later change in the same transaction may have undone its own.
 * X2  A transaction zeroes the places that it takes, flushes, writes one log entry with the new pages
 *     of the BAT (FUA), then the pages themselves. Data goes to a block only after that.
 * X3  An entry is a sequence of its own (its tail is itself): the flush of X2 also covers the pages that
 *     the transaction before wrote. Entries go round the log, and never onto the one before.
 * X4  The first change since opening also writes both headers, with new GUIDs and the log's: after
 *     the entry, which counts for nothing before. Closing flushes and writes them without it.
 * X5  bat[] is what a replay would make of the file. When a transaction fails from its flush on, nobody
 *     knows which that is: `failed` stays, and whatever writes or flushes ends with -EIO.
 * X6  A block that is no longer used is punched out of the file; its place is taken again by who opens
 *     the image next, since requests to it may be under way. `used` has each MiB that is not free.
 * X7  The mutex guards bat, busy, waiters, active and failed, and is held for no I/O. The rest of the
 *     transaction's state belongs to who set busy.
 */
#ifndef BLOCKDEV_VHDX_INTERNAL_H
#define BLOCKDEV_VHDX_INTERNAL_H

#include <string.h>

#include "blockdev/image_internal.h"
#include "blockdev/vhdx_format.h"

#define VHDX_TXN_PAGES 30u /* of the BAT in a transaction; the entry's descriptors fit in one page */
#define VHDX_MAX_LOG (32u << 20)
#define VHDX_MAX_MB (1ull << 28) /* no block lies beyond 256 TiB: `used` has a bit for each MiB */

/* What a log entry does to the file. data NULL: zeroes. */
struct vhdx_patch {
	uint64_t off, len;
	uint8_t *data;
};

/* What is being changed (X1). */
struct vhdx_txn {
	struct bdev_queue *queue; /* of the requests: the first waiter's, lower */
	struct list batch;
	struct bdev_req child;
	struct iovec iov;
	int step;
	uint32_t at; /* which page or place of this step */
	uint32_t nr_pages, pages[VHDX_TXN_PAGES];
	uint8_t *images; /* VHDX_TXN_PAGES of them */
	uint8_t *log;	 /* one page more */
	uint32_t log_bytes;
	uint32_t nr_places;
	uint64_t places[VHDX_TXN_PAGES]; /* to be zeroed */
	int status;
};

struct vhdx {
	struct bdev bdev;
	bool fixed; /* no block is ever given back */
	bool replayed;
	struct vhdx_header header; /* the current one */
	unsigned int slot;	   /* where it is */
	uint64_t bat_off, bat_region_bytes, meta_off, meta_bytes;
	uint64_t size_bytes;
	uint32_t block_bytes, sector_bytes, phys_bytes;
	uint64_t nr_blocks, nr_entries, chunk_ratio, bat_bytes;
	struct vhdx_patch *patches; /* of the log, where the device is read-only */
	size_t nr_patches;

	pthread_mutex_t lock; /* X7 */
	struct le64 *bat;
	bool busy, active, failed;
	struct list waiters;

	struct vhdx_txn txn;
	uint8_t *used; /* X6 */
	uint64_t nr_mb, scan_mb;
	uint32_t log_at;
	uint64_t log_seq;
};

enum vhdx_want { VHDX_WANT_ACTIVE, VHDX_WANT_BLOCK, VHDX_WANT_STATE };

struct vhdx_io {
	struct bdev_io io;
	struct bdev_req child;
	struct iovec *iov; /* the part that is under way */
	uint64_t at, part;
	uint64_t unmap_at; /* block */

	/* while it waits for a transaction */
	enum vhdx_want want;
	enum vhdx_state state;	/* VHDX_WANT_STATE */
	uint64_t first, nr;	/* blocks, within one page of the BAT */
	int status;
	struct loop_work work;
};

static inline struct vhdx *to_vhdx(const struct bdev *bdev)
{
	return container_of(bdev, struct vhdx, bdev);
}

/* A block's place in the BAT. */
static inline uint64_t vhdx_index(const struct vhdx *v, uint64_t block)
{
	return block + block / v->chunk_ratio;
}

/* ---- vhdx_open.c ---- */

/* Marks [off, off + len) as used; false: some of it was. */
bool vhdx_mark(struct vhdx *v, uint64_t off, uint64_t len);
/* Reads what the file has, or will have once its log is replayed. */
int vhdx_pread(struct vhdx *v, struct bdev_queue *queue, void *buf, uint64_t len, uint64_t off);
void vhdx_seal_header(struct vhdx_header *h);
/* Writes v->header with the next sequence numbers to both places. */
int vhdx_write_headers(struct vhdx *v, struct bdev_queue *queue);
void vhdx_free_patches(struct vhdx *v);

/* ---- vhdx_log.c ---- */

/* Replays the log into the file, and empties it; or into v->patches where the device is read-only. */
int vhdx_replay(struct vhdx *v, struct bdev_queue *queue, char **ret_error);
/* Makes v->txn.log of its pages, and moves on in the log. */
void vhdx_log_entry(struct vhdx *v, uint64_t file_bytes);
/* CRC-32C of data, with the four bytes at sum_off taken for 0. */
uint32_t vhdx_checksum(const void *data, size_t len, size_t sum_off);
void vhdx_new_guid(struct vhdx_guid *guid);
static inline bool vhdx_guid_is_zero(const struct vhdx_guid *guid)
{
	static const struct vhdx_guid zero;

	return memcmp(guid, &zero, sizeof(zero)) == 0;
}

/* ---- vhdx_txn.c ---- */

/* Puts vio, with what it wants, among the waiters (X1). vhdx_resume() is called later on. */
void vhdx_wait(struct vhdx *v, struct vhdx_io *vio);
/* ---- vhdx.c ---- */
void vhdx_resume(struct vhdx_io *vio); /* vio->status says how it ended */

#endif
