/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm blockdev util */
/* The SCSI commands of a disk, on one in RAM: what each gives, what it refuses and why, and what an
 * initiator hears by unit attentions. */
#include <errno.h>

#include "tests/unit/test.h"
#include "util/be.h"
#include "util/checked.h"
#include "vmm/scsi.h"

#define BLOCK 512u
#define NR_BLOCKS 8192u

static struct loop *loop;
static struct bdev *bdev;
static struct bdev_queue *queue;
static struct vmm_scsi_unit unit;
static struct vmm_scsi_unit_state unit_state;

static uint8_t out[128 * 1024], in[128 * 1024];
static struct vmm_scsi_cmd cmd;
static unsigned int nr_requests; /* of the last command to the disk */

/* Carries a command out with data-out and data-in of these sizes, each in two parts. */
static void run_on(struct vmm_scsi_unit *on, const uint8_t *cdb, size_t cdb_len, size_t out_len,
	size_t in_len)
{
	struct iovec out_iov[] = { { out, out_len / 3 }, { out + out_len / 3, out_len - out_len / 3 } };
	struct iovec in_iov[] = { { in, in_len / 3 }, { in + in_len / 3, in_len - in_len / 3 } };

	memset(&cmd, 0xa5, sizeof(cmd));
	memset(&cmd.req, 0, sizeof(cmd.req));
	memset(cmd.cdb, 0, sizeof(cmd.cdb));
	memcpy(cmd.cdb, cdb, cdb_len);
	cmd.unit = on;
	cmd.out = out_iov;
	cmd.nr_out = out_len ? 2 : 0;
	cmd.in = in_iov;
	cmd.nr_in = in_len ? 2 : 0;
	nr_requests = 0;
	for (enum vmm_scsi_next next = vmm_scsi_begin(&cmd); next == VMM_SCSI_DISK; nr_requests++)
		next = vmm_scsi_go_on(&cmd, bdev_sync(queue, &cmd.req));
	CHECK(!cmd.scratch);
}

#define RUN(out_len, in_len, ...)                                                                  \
	run_on(&unit, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }),  \
		out_len, in_len)

static void good(uint64_t moved_bytes)
{
	CHECK_EQ(cmd.status, VMM_SCSI_GOOD);
	CHECK_EQ(cmd.sense_bytes, 0);
	CHECK(!cmd.overrun);
	CHECK_EQ(cmd.moved_bytes, moved_bytes);
}

static void refused(uint8_t key, uint8_t asc, uint8_t ascq)
{
	CHECK_EQ(cmd.status, VMM_SCSI_CHECK_CONDITION);
	CHECK_EQ(cmd.sense_bytes, 18);
	CHECK_EQ(cmd.sense[0], 0x70);
	CHECK_EQ(cmd.sense[7], 10);
	CHECK_EQ(cmd.sense[2], key);
	CHECK_EQ(cmd.sense[12], asc);
	CHECK_EQ(cmd.sense[13], ascq);
}

static uint32_t in32(size_t at)
{
	return be32_get(*(struct be32 *)(void *)(in + at));
}

static void out16(size_t at, uint16_t value)
{
	*(struct be16 *)(void *)(out + at) = be16_of(value);
}

static void out32(size_t at, uint32_t value)
{
	*(struct be32 *)(void *)(out + at) = be32_of(value);
}

static void fill(uint8_t *buf, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
}

/* A fresh unit for what is open; its power-on attention is heard. */
static void begin(bool readonly)
{
	struct bdev_geom geom = bdev_geom(bdev);

	vmm_scsi_unit_init(&unit, &geom, readonly, "disk7", &unit_state);
	RUN(0, 0, 0x00);
	refused(6, 0x29, 1);
	RUN(0, 0, 0x00);
	good(0);
}

static void inquiry(void)
{
	RUN(0, 255, 0x12, 0, 0, 0, 255);
	good(36);
	CHECK_EQ(in[0], 0);
	CHECK_EQ(in[4], 31);
	CHECK(memcmp(in + 8, "CSVFS   csvvm disk      ", 24) == 0);
	/* less is wanted; less room than is wanted */
	RUN(0, 255, 0x12, 0, 0, 0, 5);
	good(5);
	RUN(0, 5, 0x12, 0, 0, 0, 255);
	CHECK(cmd.overrun);
	CHECK_EQ(cmd.moved_bytes, 5);
	RUN(0, 255, 0x12, 1, 0, 0, 255);
	good(10);
	CHECK(memcmp(in, "\0\0\0\6\0\x80\x83\xb0\xb1\xb2", 10) == 0);
	RUN(0, 255, 0x12, 1, 0x80, 0, 255);
	good(9);
	CHECK(memcmp(in, "\0\x80\0\5disk7", 9) == 0);
	RUN(0, 255, 0x12, 1, 0x83, 0, 255);
	good(4 + 4 + 8 + 5);
	CHECK(memcmp(in + 4, "\2\1\0\x0d" "CSVFS   disk7", 17) == 0);
	RUN(0, 255, 0x12, 1, 0xb0, 0, 255);
	good(64);
	CHECK_EQ(in[4], 1);
	CHECK_EQ(in32(20), (1u << 30) / BLOCK);
	CHECK_EQ(in32(24), 256);
	RUN(0, 255, 0x12, 1, 0xb1, 0, 255);
	good(64);
	CHECK_EQ(in[5], 1);
	RUN(0, 255, 0x12, 1, 0xb2, 0, 255);
	good(8);
	CHECK_EQ(in[5], 0xe0);
	CHECK_EQ(in[6], 2);
	RUN(0, 255, 0x12, 1, 0xc0, 0, 255);
	refused(5, 0x24, 0);
	RUN(0, 255, 0x12, 0, 0x80, 0, 255);
	refused(5, 0x24, 0);
	RUN(0, 255, 0x12, 2, 0, 0, 255);
	refused(5, 0x24, 0);
}

static void no_unit(void)
{
	static const uint8_t inquire[] = { 0x12, 0, 0, 0, 36 }, ready[6] = { 0 },
			     luns[] = { 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16 },
			     sense[] = { 0x03, 0, 0, 0, 18 };

	run_on(NULL, inquire, sizeof(inquire), 0, 36);
	good(36);
	CHECK_EQ(in[0], 0x7f);
	run_on(NULL, ready, sizeof(ready), 0, 0);
	refused(5, 0x25, 0);
	run_on(NULL, luns, sizeof(luns), 0, 16);
	good(16);
	CHECK_EQ(in32(0), 8);
	run_on(NULL, sense, sizeof(sense), 0, 18);
	good(18);
	CHECK_EQ(in[12], 0x25);
}

static void mode_sense(void)
{
	RUN(0, 255, 0x1a, 0, 0x08, 0, 255);
	good(4 + 8 + 20);
	CHECK_EQ(in[0], 31);
	CHECK_EQ(in[2], 0x10);
	CHECK_EQ(in[3], 8);
	CHECK_EQ(in32(4), NR_BLOCKS);
	CHECK_EQ(in32(8), BLOCK);
	CHECK(memcmp(in + 12, "\x08\x12\x04", 3) == 0);
	/* (10) without the block descriptor; all pages; what can be changed: nothing */
	RUN(0, 255, 0x5a, 8, 0x3f, 0xff, 0, 0, 0, 0, 255);
	good(8 + 20 + 12);
	CHECK_EQ(in[1], 38);
	CHECK_EQ(in[8 + 20], 0x0a);
	RUN(0, 255, 0x1a, 8, 0x48, 0, 255);
	good(24);
	CHECK_EQ(in[6], 0);
	RUN(0, 255, 0x1a, 8, 0xc8, 0, 255);
	refused(5, 0x39, 0);
	RUN(0, 255, 0x1a, 8, 0x1c, 0, 255);
	refused(5, 0x24, 0);
	RUN(0, 255, 0x1a, 8, 0x08, 1, 255);
	refused(5, 0x24, 0);
}

static void capacity(void)
{
	RUN(0, 8, 0x25);
	good(8);
	CHECK_EQ(in32(0), NR_BLOCKS - 1);
	CHECK_EQ(in32(4), BLOCK);
	RUN(0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32);
	good(32);
	CHECK_EQ(in32(4), NR_BLOCKS - 1);
	CHECK_EQ(in32(8), BLOCK);
	CHECK_EQ(in[14], 0x80);
	RUN(0, 32, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32);
	refused(5, 0x24, 0);
	RUN(0, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64);
	good(16);
	CHECK_EQ(in32(0), 8);
	CHECK(memcmp(in + 8, "\0\0\0\0\0\0\0\0", 8) == 0);
	RUN(0, 64, 0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64);
	good(8);
	CHECK_EQ(in32(0), 0);
	RUN(0, 64, 0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 64);
	refused(5, 0x24, 0);
}

static void read_and_write(void)
{
	struct bdev_counters counters;

	fill(out, 8 * BLOCK, 1);
	RUN(8 * BLOCK, 0, 0x0a, 0, 0, 100, 8);
	good(8 * BLOCK);
	RUN(0, 8 * BLOCK, 0x08, 0, 0, 100, 8);
	good(8 * BLOCK);
	CHECK(memcmp(in, out, 8 * BLOCK) == 0);
	/* more room than it takes */
	memset(in, 0, sizeof(in));
	RUN(0, 10 * BLOCK, 0x28, 0, 0, 0, 0, 100, 0, 0, 8);
	good(8 * BLOCK);
	CHECK(memcmp(in, out, 8 * BLOCK) == 0);
	CHECK_EQ(in[8 * BLOCK], 0);
	RUN(0, 8 * BLOCK, 0xa8, 0, 0, 0, 0, 100, 0, 0, 0, 8);
	good(8 * BLOCK);
	/* 256 blocks are 0 in 6 bytes; the last one; past it; 0 elsewhere is none */
	RUN(0, 256 * BLOCK, 0x08, 0, 0, 0, 0);
	good(256 * BLOCK);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0x1f, 0xff, 0, 0, 1);
	good(BLOCK);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0x20, 0x00, 0, 0, 0);
	good(0);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0x20, 0x00, 0, 0, 1);
	refused(5, 0x21, 0);
	RUN(2 * BLOCK, 0, 0x2a, 0, 0, 0, 0x1f, 0xff, 0, 0, 2);
	refused(5, 0x21, 0);
	CHECK_EQ(cmd.moved_bytes, 0);
	RUN(BLOCK, 0, 0x8a, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
	refused(5, 0x21, 0);
	/* less data than blocks; none at all; protection */
	RUN(BLOCK, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 2);
	CHECK(cmd.overrun);
	CHECK_EQ(nr_requests, 0);
	RUN(0, 0, 0x28, 0, 0, 0, 0, 0, 0, 0, 1);
	CHECK(cmd.overrun);
	RUN(BLOCK, 0, 0x2a, 0x20, 0, 0, 0, 0, 0, 0, 1);
	refused(5, 0x24, 0);
	/* stable at once, and all of it later */
	RUN(BLOCK, 0, 0xaa, 0x08, 0, 0, 0, 0, 0, 0, 0, 1);
	good(BLOCK);
	CHECK_EQ(cmd.req.flags, BDEV_FUA);
	RUN(BLOCK, 0, 0x0a, 0x08, 0, 0, 1); /* here the bit is of the LBA */
	refused(5, 0x21, 0);
	bdev_counters(bdev, &counters);
	CHECK_EQ(counters.ops[BDEV_FLUSH], 0);
	RUN(0, 0, 0x35);
	good(0);
	RUN(0, 0, 0x91);
	good(0);
	bdev_counters(bdev, &counters);
	CHECK_EQ(counters.ops[BDEV_FLUSH], 2);
	RUN(0, 0, 0x35, 0, 0, 0, 0x20, 0x00, 0, 0, 1);
	refused(5, 0x21, 0);
}

static void verify(void)
{
	fill(out, 200 * BLOCK, 2);
	RUN(200 * BLOCK, 0, 0x2a, 0, 0, 0, 1, 0, 0, 0, 200);
	good(200 * BLOCK);
	RUN(200 * BLOCK, 0, 0x2f, 2, 0, 0, 1, 0, 0, 0, 200);
	good(200 * BLOCK);
	CHECK_EQ(nr_requests, 2);
	out[199 * BLOCK + 7] ^= 1;
	RUN(200 * BLOCK, 0, 0x2f, 2, 0, 0, 1, 0, 0, 0, 200);
	refused(0xe, 0x1d, 0);
	RUN(0, 0, 0x8f, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 200);
	good(0);
	RUN(BLOCK, 0, 0x2f, 2, 0, 0, 1, 0, 0, 0, 2);
	CHECK(cmd.overrun);
	RUN(BLOCK, 0, 0x2f, 6, 0, 0, 1, 0, 0, 0, 1);
	refused(5, 0x24, 0);
}

static void check_block(uint32_t lba, const uint8_t *wanted)
{
	uint8_t block[BLOCK];

	CHECK_OK(bdev_pread(queue, block, BLOCK, (uint64_t)lba * BLOCK));
	CHECK(memcmp(block, wanted, BLOCK) == 0);
}

static void write_same(void)
{
	static const uint8_t zeroes[BLOCK];
	uint8_t before[BLOCK];

	fill(out, BLOCK, 3);
	CHECK_OK(bdev_pread(queue, before, BLOCK, 1299ull * BLOCK));
	RUN(BLOCK, 0, 0x41, 0, 0, 0, 5, 20, 0, 0, 200); /* 1300 */
	good(BLOCK);
	CHECK_EQ(nr_requests, 2);
	check_block(1299, before);
	check_block(1300, out);
	check_block(1428, out);
	check_block(1499, out);
	/* with UNMAP, but the block is not of zeroes, and has to be read */
	RUN(BLOCK, 0, 0x93, 0x08, 0, 0, 0, 0, 0, 0, 5, 20, 0, 0, 0, 9);
	good(BLOCK);
	check_block(1308, out);
	memset(out, 0, BLOCK);
	RUN(BLOCK, 0, 0x93, 0x08, 0, 0, 0, 0, 0, 0, 5, 20, 0, 0, 0, 9);
	good(BLOCK);
	CHECK_EQ(cmd.req.op, BDEV_WRITE_ZEROES);
	check_block(1308, zeroes);
	RUN(0, 0, 0x93, 0x01, 0, 0, 0, 0, 0, 0, 5, 20, 0, 0, 0, 200);
	good(0);
	check_block(1499, zeroes);
	/* of none; past the end; without a block; anchored */
	RUN(BLOCK, 0, 0x41, 0, 0, 0, 0, 0, 0, 0, 0);
	refused(5, 0x24, 0);
	RUN(BLOCK, 0, 0x41, 0, 0, 0, 0x1f, 0xff, 0, 0, 2);
	refused(5, 0x21, 0);
	RUN(BLOCK - 1, 0, 0x41, 0, 0, 0, 0, 0, 0, 0, 2);
	CHECK(cmd.overrun);
	RUN(BLOCK, 0, 0x41, 0x10, 0, 0, 0, 0, 0, 0, 2);
	refused(5, 0x24, 0);
}

/* A list of nr descriptors of 8 blocks, 16 apart, is in data-out: its length. */
static uint16_t unmap_list(unsigned int nr)
{
	memset(out, 0, 8 + 16 * nr);
	out16(0, (uint16_t)(6 + 16 * nr));
	out16(2, (uint16_t)(16 * nr));
	for (unsigned int i = 0; i < nr; i++) {
		out32(8 + 16 * i + 4, 16 * i);
		out32(8 + 16 * i + 8, 8);
	}
	return (uint16_t)(8 + 16 * nr);
}

static void unmap(void)
{
	uint16_t len = unmap_list(200);

	RUN(len, 0, 0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len);
	good(len);
	CHECK_EQ(nr_requests, 200);
	/* what the list says it is, and not what lies behind it */
	out16(2, 32);
	RUN(len, 0, 0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len);
	good(8 + 32);
	CHECK_EQ(nr_requests, 2);
	len = unmap_list(257);
	RUN(len, 0, 0x42, 0, 0, 0, 0, 0, 0, (uint8_t)(len >> 8), (uint8_t)len);
	refused(5, 0x26, 0);
	/* the second one: none, past the end, too many at once, not there */
	unmap_list(2);
	out32(8 + 16 + 8, 0);
	RUN(40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40);
	good(40);
	CHECK_EQ(nr_requests, 1);
	out32(8 + 16 + 8, NR_BLOCKS);
	RUN(40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40);
	refused(5, 0x21, 0);
	CHECK_EQ(nr_requests, 1);
	RUN(39, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40);
	CHECK(cmd.overrun);
	RUN(0, 0, 0x42);
	good(0);
	RUN(7, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 7);
	refused(5, 0x1a, 0);
	RUN(40, 0, 0x42, 1, 0, 0, 0, 0, 0, 0, 40);
	refused(5, 0x24, 0);
}

static void attentions(void)
{
	CHECK(!vmm_scsi_unit_resize(&unit, (uint64_t)NR_BLOCKS * BLOCK));
	CHECK(vmm_scsi_unit_resize(&unit, 4096ull * BLOCK));
	vmm_scsi_raise(&unit_state, VMM_SCSI_LUNS_CHANGED);
	vmm_scsi_raise(&unit_state, VMM_SCSI_RESET);
	RUN(0, 36, 0x12, 0, 0, 0, 36); /* takes none */
	good(36);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0, 0, 0, 0, 1);
	refused(6, 0x29, 3);
	RUN(0, 0, 0xff);
	refused(6, 0x2a, 9);
	RUN(0, 64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64); /* takes the one that is about it */
	good(16);
	RUN(0, 8, 0x25);
	good(8);
	CHECK_EQ(in32(0), 4095);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0x10, 0x00, 0, 0, 1);
	refused(5, 0x21, 0);
	vmm_scsi_raise(&unit_state, VMM_SCSI_LUNS_CHANGED);
	RUN(0, 0, 0x00);
	refused(6, 0x3f, 0x0e);
	/* REQUEST SENSE is told in its data, in the format that it wants */
	vmm_scsi_raise(&unit_state, VMM_SCSI_CAPACITY_CHANGED);
	RUN(0, 255, 0x03, 1, 0, 0, 255);
	good(8);
	CHECK(memcmp(in, "\x72\6\x2a\x09\0\0\0\0", 8) == 0);
	RUN(0, 255, 0x03, 0, 0, 0, 255);
	good(18);
	CHECK_EQ(in[0], 0x70);
	CHECK_EQ(in[2], 0);
	RUN(0, 0, 0xff);
	refused(5, 0x20, 0);
}

static void readonly(void)
{
	begin(true);
	RUN(BLOCK, 0, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1);
	refused(7, 0x27, 0);
	RUN(BLOCK, 0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
	refused(7, 0x27, 0);
	RUN(40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40);
	refused(7, 0x27, 0);
	RUN(0, BLOCK, 0x28, 0, 0, 0, 0, 0, 0, 0, 1);
	good(BLOCK);
	RUN(0, 0, 0x35);
	good(0);
	CHECK_EQ(nr_requests, 0);
	RUN(0, 255, 0x1a, 8, 0x08, 0, 255);
	good(24);
	CHECK_EQ(in[2], 0x90);
	CHECK_EQ(in[6], 0);
	RUN(0, 255, 0x12, 1, 0xb2, 0, 255);
	good(8);
	CHECK_EQ(in[5], 0);
}

static void failures(void)
{
	static const struct {
		int err;
		uint8_t write, key, asc, ascq;
	} map[] = {
		{ -EIO, 0, 3, 0x11, 0 },
		{ -EIO, 1, 3, 0x0c, 0 },
		{ -ENOSPC, 1, 7, 0x27, 7 },
		{ -EROFS, 1, 7, 0x27, 0 },
		{ -ERANGE, 0, 5, 0x21, 0 },
		{ -ERR_TRANSPORT, 0, 4, 0x08, 0 },
		{ -ERR_FENCED, 1, 4, 0x44, 0 },
		{ -ECANCELED, 0, 0xb, 0, 0 },
	};
	struct iovec iov = { in, BLOCK };

	begin(false);
	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		cmd = (struct vmm_scsi_cmd){ .unit = &unit, .in = &iov, .nr_in = 1, .out = &iov, .nr_out = 1 };
		cmd.cdb[0] = map[i].write ? 0x2a : 0x28;
		cmd.cdb[8] = 1;
		CHECK_EQ(vmm_scsi_begin(&cmd), VMM_SCSI_DISK);
		CHECK_EQ(vmm_scsi_go_on(&cmd, map[i].err), VMM_SCSI_DONE);
		refused(map[i].key, map[i].asc, map[i].ascq);
	}
	/* in the middle of several steps */
	cmd.cdb[0] = 0x2f;
	CHECK_EQ(vmm_scsi_begin(&cmd), VMM_SCSI_DISK);
	CHECK(cmd.scratch);
	CHECK_EQ(vmm_scsi_go_on(&cmd, -ENOMEM), VMM_SCSI_DONE);
	CHECK_EQ(cmd.status, VMM_SCSI_BUSY);
	CHECK(!cmd.scratch);
}

/* Each opcode with hostile fields, and little data: none gets past the disk, or hangs. */
static void garbage(void)
{
	for (uint32_t seed = 0; seed < 40000; seed++) {
		uint8_t cdb[VMM_SCSI_CDB];

		fill(cdb, sizeof(cdb), seed);
		cdb[0] = (uint8_t)seed;
		if (seed & 256) /* so that many are in range */
			memset(cdb + 2, 0, 4);
		if (seed & 512)
			memset(cdb + 6, 0, 6);
		fill(out, 4096, seed);
		run_on(seed & 1024 ? &unit : NULL, cdb, sizeof(cdb), seed % 4096, seed % 5000);
		CHECK(cmd.moved_bytes <= 5000);
		CHECK(cmd.status == VMM_SCSI_GOOD || cmd.status == VMM_SCSI_CHECK_CONDITION);
	}
}

static void large_blocks(void)
{
	struct bdev_geom geom = { .size_bytes = 3ull << 44,
		.block_bytes = 4096,
		.phys_bytes = 16384,
		.caps = BDEV_ROTATIONAL };

	vmm_scsi_unit_init(&unit, &geom, false, "a serial that is longer than they may be",
		&unit_state);
	RUN(0, 255, 0x03, 0, 0, 0, 255);
	RUN(0, 8, 0x25);
	good(8);
	CHECK_EQ(in32(0), UINT32_MAX);
	RUN(0, 32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32);
	good(32);
	CHECK_EQ(in32(0), 2);
	CHECK_EQ(in32(4), UINT32_MAX);
	CHECK_EQ(in[13], 2);
	CHECK_EQ(in[14], 0);
	RUN(0, 255, 0x12, 1, 0x80, 0, 255);
	good(24);
	RUN(0, 255, 0x12, 1, 0xb1, 0, 255);
	CHECK_EQ(in[5], 0);
	RUN(40, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 40);
	refused(5, 0x20, 0);
}

int main(void)
{
	CHECK_OK(loop_new(&loop));
	CHECK_OK(bdev_open("ram:4M", NULL, &bdev, NULL));
	CHECK_OK(bdev_queue_open(bdev, loop, &queue));
	CHECK_EQ(bdev_geom(bdev).size_bytes, NR_BLOCKS * BLOCK);
	begin(false);
	inquiry();
	no_unit();
	mode_sense();
	capacity();
	read_and_write();
	verify();
	write_same();
	unmap();
	attentions();
	readonly();
	failures();
	garbage();
	large_blocks();
	bdev_queue_close(queue);
	bdev_close(bdev);
	loop_free(loop);
	return 0;
}
