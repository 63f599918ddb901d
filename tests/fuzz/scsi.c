/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a guest may do to a virtio-scsi controller, and what an initiator may send to a SCSI disk.
 *
 *	0: commands: data-out (2: bytes), data-in (2), CDB (32), parameters (64)
 *	else: what a driver does: see do_step()
 *
 * However it went, after a reset the device serves a driver that is good.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "blockdev/bdev.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"
#include "util/checked.h"
#include "util/log.h"
#include "util/loop.h"
#include "vmm/disk.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"
#include "vmm/scsi.h"
#include "vmm/virtio.h"
#include "vmm/virtio_scsi.h"

#define SIZE 16
#include "tests/unit/virtio_driver.h"

#define RAM (1u << 20)
#define SLOTS 0x20000 /* 4 KiB for each descriptor of a chain */
#define NR_QUEUES 4
#define MAX_STEPS 64 /* of an input */
#define MAX_DISKS 4

const char *const fuzz_words[] = { NULL };

static struct loop *loop;
static struct vmm_virtio_scsi *scsi;
static struct bdev *bdev; /* for commands alone */
static struct bdev_queue *queue;
static struct disk {
	struct vmm_disk disk;
	bool attached;
	unsigned int target;
} disks[MAX_DISKS];

/* ---- a SCSI disk ---- */

static void try_command(struct fuzz_in *in, struct vmm_scsi_unit *unit)
{
	static uint8_t out[65536], data[65536];
	size_t out_len = fuzz_num(in, 2), in_len = fuzz_num(in, 2), n;
	struct iovec out_iov[] = { { out, out_len / 3 }, { out + out_len / 3, out_len - out_len / 3 } };
	struct iovec in_iov[] = { { data, in_len / 3 }, { data + in_len / 3, in_len - in_len / 3 } };
	struct vmm_scsi_cmd cmd = { .unit = unit,
		.out = out_iov,
		.in = in_iov,
		.nr_out = out_len ? 2 : 0,
		.nr_in = in_len ? 2 : 0 };
	const uint8_t *bytes = fuzz_bytes(in, sizeof(cmd.cdb), &n);
	enum vmm_scsi_next next;

	memcpy(cmd.cdb, bytes, n);
	bytes = fuzz_bytes(in, 64, &n);
	memcpy(out, bytes, n);
	next = vmm_scsi_begin(&cmd);
	for (unsigned int steps = 0; next == VMM_SCSI_DISK; steps++) {
		if (steps > 512)
			fuzz_fail("a command does not end");
		next = vmm_scsi_go_on(&cmd, bdev_sync(queue, &cmd.req));
	}
	if (cmd.scratch || cmd.moved_bytes > out_len + in_len)
		fuzz_fail("a command has moved more than there was, or kept something");
}

static void try_commands(struct fuzz_in *in)
{
	struct vmm_scsi_unit_state state = { 0 };
	struct bdev_geom geom = bdev_geom(bdev);
	struct vmm_scsi_unit unit;

	vmm_scsi_unit_init(&unit, &geom, false, "fuzz", &state);
	state.attentions = 0;
	for (unsigned int i = 0; in->left > 0 && i < MAX_STEPS; i++)
		try_command(in, &unit);
}

/* ---- a controller ---- */

static void reset(void)
{
	time_t end = time(NULL) + 30;

	reg(0x14, 1, 0);
	while (get(0x14, 1) != 0) {
		if (time(NULL) > end)
			fuzz_fail("a reset does not end");
		sched_yield();
	}
}

static void start(uint32_t features)
{
	reset();
	driver_start(NR_QUEUES, features);
}

static void gone(void *arg, int flush_err)
{
	struct disk *disk = arg;

	bdev_close(disk->disk.bdev);
	disk->attached = false;
}

static void attach(struct disk *disk)
{
	if (disk->attached)
		return;
	disk->disk = (struct vmm_disk){ .lock_fd = -1, .name = "fuzz" };
	CHECK_OK(bdev_open("ram:1M", NULL, &disk->disk.bdev, NULL));
	CHECK_OK(vmm_virtio_scsi_attach(scsi, &disk->disk, "fuzz", &disk->target));
	disk->attached = true;
}

static void detach(struct disk *disk, bool force)
{
	if (disk->attached)
		(void)!vmm_virtio_scsi_detach(scsi, disk->target, force, gone, disk);
}

/* A chain on the queue, from a descriptor on: 1 to 6 of length and flags, and bytes for the first. */
static void do_chain(struct fuzz_in *in, unsigned int nth_queue)
{
	unsigned int first = (unsigned int)fuzz_num(in, 1) % SIZE, nr = 1 + fuzz_num(in, 1) % 6;
	const uint8_t *bytes;
	size_t n;

	for (unsigned int i = 0; i < nr; i++) {
		uint32_t len = (uint32_t)fuzz_num(in, 2);
		uint16_t flags = (uint16_t)fuzz_num(in, 1);
		uint64_t addr = flags & 0x80 ? fuzz_num(in, 8) : SLOTS + 4096 * (first + i);

		desc(nth_queue, (first + i) % SIZE, addr, len, flags & 7);
	}
	n = fuzz_num(in, 1);
	bytes = fuzz_bytes(in, n, &n);
	memcpy(ram(SLOTS + 4096 * first), bytes, n);
	offer(nth_queue, (uint16_t)first);
	kick(nth_queue);
}

static void do_step(struct fuzz_in *in)
{
	unsigned int what = (unsigned int)fuzz_num(in, 1) % 12;
	const uint8_t *bytes;
	uint64_t addr;
	size_t n;

	switch (what) {
	case 4:
		start((uint32_t)fuzz_num(in, 1) & 6);
		break;
	case 5:
		attach(&disks[fuzz_num(in, 1) % MAX_DISKS]);
		break;
	case 6:
		detach(&disks[fuzz_num(in, 1) % MAX_DISKS], fuzz_num(in, 1) & 1);
		break;
	case 7: /* anything, anywhere in memory, the rings too */
		addr = fuzz_num(in, 3) % (RAM - 4096);
		n = fuzz_num(in, 1);
		bytes = fuzz_bytes(in, n, &n);
		memcpy(ram(addr), bytes, n);
		break;
	case 8: /* a register */
		addr = fuzz_num(in, 2) % 0x8000;
		reg(addr, 1u << fuzz_num(in, 1) % 4, fuzz_num(in, 8));
		break;
	case 9:
		vmm_virtio_scsi_retry(scsi);
		break;
	default:
		do_chain(in, what % NR_QUEUES);
	}
	loop_run_once(loop, false);
}

/* A driver that is good, and a disk that is ready. */
static void check_works(void)
{
	volatile uint8_t *response = ram(SLOTS + 4096);
	time_t end = time(NULL) + 30;

	start(2);
	for (unsigned int i = 0; i < MAX_DISKS; i++)
		detach(&disks[i], true);
	for (unsigned int i = 0; i < MAX_DISKS; i++) {
		while (disks[i].attached)
			loop_run_once(loop, true);
	}
	attach(&disks[0]);
	memset(ram(SLOTS), 0, 64);
	ram(SLOTS)[0] = 1;
	ram(SLOTS)[1] = (uint8_t)disks[0].target;
	ram(SLOTS)[19] = 0xa0; /* REPORT LUNS, of which it has time for none */
	memset(ram(SLOTS + 4096), 0xee, 108);
	desc(2, 0, SLOTS, 51, 1);
	desc(2, 1, SLOTS + 4096, 108, 2);
	offer(2, 0);
	kick(2);
	while (response[11] == 0xee) {
		if (time(NULL) > end)
			fuzz_fail("a good driver is not served");
		sched_yield();
	}
	reset();
	if (response[11] != 0 || response[10] != 0)
		fuzz_fail("a good driver is served badly");
	detach(&disks[0], true);
	while (disks[0].attached)
		loop_run_once(loop, true);
}

/* ---- the target ---- */

static void clean_up(void)
{
	vmm_virtio_scsi_free(scsi);
	bdev_queue_close(queue);
	bdev_close(bdev);
	vmm_mem_free(mem);
	loop_free(loop);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level(LOG_LVL_ERROR);
	CHECK_OK(loop_new(&loop));
	CHECK_OK(bdev_open("ram:1M", NULL, &bdev, NULL));
	CHECK_OK(bdev_queue_open(bdev, loop, &queue));
	board_new(RAM);
	CHECK_OK(vmm_virtio_scsi_new(mem, &pci, loop, NR_QUEUES - 2, &scsi));
	dev = pci.slots[1]->arg;
	atexit(clean_up);
	return 0;
}

static void seed_commands(void (*add)(const void *data, size_t len))
{
	static const uint8_t cdbs[][16] = { { 0x12, 1, 0xb0, 0, 255 }, { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 },
		{ 0x2a, 8, 0, 0, 0, 5, 0, 0, 2 }, { 0x42, 0, 0, 0, 0, 0, 0, 0, 40 },
		{ 0x41, 8, 0, 0, 0, 0, 0, 0, 200 }, { 0x2f, 2, 0, 0, 0, 0, 0, 0, 4 },
		{ 0x5a, 0, 0x3f, 0xff, 0, 0, 0, 0, 255 }, { 0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0 },
		{ 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 100 },
		{ 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32 } };
	static const uint8_t list[64] = { 0, 38, 0, 32, [15] = 8, [19] = 8, [31] = 16, [35] = 8 };

	for (size_t i = 0; i < ARRAY_SIZE(cdbs); i++) {
		struct fuzz_out out = { .len = 0 };

		fuzz_put(&out, 0, 1);
		fuzz_put(&out, 2048, 2);
		fuzz_put(&out, 2048, 2);
		fuzz_put_bytes(&out, cdbs[i], 16);
		fuzz_put(&out, 0, 8);
		fuzz_put(&out, 0, 8);
		fuzz_put_bytes(&out, list, sizeof(list));
		add(out.data, out.len);
	}
}

/* Puts a chain of two, the second for the answer. */
static void put_chain(struct fuzz_out *out, unsigned int nth_queue, unsigned int first, uint16_t len,
	uint16_t answer_len, const uint8_t *bytes, size_t nr_bytes)
{
	fuzz_put(out, nth_queue, 1);
	fuzz_put(out, first, 1);
	fuzz_put(out, len ? 1 : 0, 1);
	if (len) {
		fuzz_put(out, len, 2);
		fuzz_put(out, 1, 1);
	}
	fuzz_put(out, answer_len, 2);
	fuzz_put(out, 2, 1);
	fuzz_put(out, nr_bytes, 1);
	fuzz_put_bytes(out, bytes, nr_bytes);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	static const uint8_t request[51] = { 1, 0, 0x40, [19] = 0x28, [27] = 1 };
	static const uint8_t tmf[24] = { [4] = 5, [8] = 1 };
	struct fuzz_out out = { .len = 0 };

	seed_commands(add);
	fuzz_put(&out, 1, 1);
	fuzz_put(&out, 4 | 6 << 8, 2);
	fuzz_put(&out, 5, 2);
	put_chain(&out, 1, 0, 0, 16, tmf, 0);
	put_chain(&out, 1, 1, 0, 16, tmf, 0);
	put_chain(&out, 2, 2, 51, 108 + 512, request, sizeof(request));
	put_chain(&out, 3, 4, 51, 108 + 512, request, sizeof(request));
	put_chain(&out, 0, 6, 24, 1, tmf, sizeof(tmf));
	fuzz_put(&out, 6, 3);
	put_chain(&out, 1, 0, 0, 16, tmf, 0);
	add(out.data, out.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };

	if (fuzz_num(&in, 1) == 0) {
		try_commands(&in);
		return 0;
	}
	start(6);
	for (unsigned int i = 0; in.left > 0 && i < MAX_STEPS; i++)
		do_step(&in);
	check_works();
	return 0;
}
