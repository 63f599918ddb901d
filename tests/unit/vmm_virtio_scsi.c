/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm blockdev util */
/* The virtio-scsi controller with this test as its driver: requests however they are cut, disks that
 * come, go and grow, storage that fails, task management, and a driver that breaks rules. No KVM. */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "blockdev/bdev.h"
#include "tests/unit/test.h"
#include "util/le.h"
#include "util/loop.h"
#include "vmm/disk.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"
#include "vmm/virtio.h"
#include "vmm/virtio_scsi.h"

#define SIZE 64
#include "tests/unit/virtio_driver.h"

#define RAM (4u << 20)
#define SLOTS 0x100000
#define SLOT_BYTES 0x10000 /* of a request: header, response at 4 KiB, data at 8 KiB */

enum { CTRL, EVENTS, REQ, REQ2, NR_QUEUES };
enum { F_HOTPLUG = 2, F_CHANGE = 4 };
enum { OK, OVERRUN, ABORTED, BAD_TARGET, FAILURE = 9, SUCCEEDED, REJECTED, INCORRECT_LUN };

static struct loop *loop;
static struct vmm_virtio_scsi *scsi;
static uint16_t seen[NR_QUEUES]; /* used index up to which answers were looked at */
static int nr_gone, gone_err, nr_failed;

/* ---- the driver's side of a device ---- */

static bool status_is(uint8_t status)
{
	return get(0x14, 1) == status;
}

#define WAIT(cond)                                                                                 \
	for (time_t end_ = time(NULL) + 60; !(cond);) {                                            \
		CHECK(time(NULL) < end_);                                                          \
		loop_run_once(loop, false);                                                        \
		sched_yield();                                                                     \
	}

static void start(uint32_t features)
{
	reg(0x14, 1, 0);
	WAIT(status_is(0));
	memset(seen, 0, sizeof(seen));
	driver_start(NR_QUEUES, features);
}

/* The head of the next chain that came back. */
static uint32_t next_used(unsigned int queue)
{
	uint32_t head;

	WAIT(used(queue) != seen[queue] || broken());
	CHECK(!broken());
	memcpy(&head, ram(ring(queue) + 0x2000) + 4 + 8 * (seen[queue]++ % SIZE), 4);
	return head;
}

/* ---- requests ---- */

static uint8_t *slot(unsigned int nth)
{
	return ram(SLOTS + SLOT_BYTES * nth);
}

static uint8_t *response(unsigned int nth)
{
	return slot(nth) + 0x1000;
}

static uint8_t *data(unsigned int nth)
{
	return slot(nth) + 0x2000;
}

/* Makes slot nth a request of the target; its id is 100 and nth. */
static void fill(unsigned int nth, uint8_t target, const uint8_t *cdb, size_t cdb_len)
{
	uint8_t *p = slot(nth);

	memset(p, 0, 51);
	memset(response(nth), 0xee, 108);
	p[0] = 1;
	p[1] = target;
	p[2] = 0x40;
	p[8] = (uint8_t)(100 + nth);
	memcpy(p + 19, cdb, cdb_len);
}

/* Each slot has the descriptors from 4 times its number on. */
static void chain(unsigned int queue, unsigned int nth, uint32_t out_len, uint32_t in_len)
{
	uint64_t at = SLOTS + SLOT_BYTES * nth;
	unsigned int d = 4 * nth;

	desc(queue, d++, at, 51, NEXT);
	if (out_len)
		desc(queue, d++, at + 0x2000, out_len, NEXT);
	desc(queue, d++, at + 0x1000, 108, in_len ? WRITE | NEXT : WRITE);
	if (in_len)
		desc(queue, d, at + 0x2000, in_len, WRITE);
	offer(queue, (uint16_t)(4 * nth));
	kick(queue);
}

static void send(unsigned int queue, unsigned int nth, uint8_t target, uint8_t opcode, uint32_t lba,
	uint32_t blocks)
{
	bool is_write = opcode == 0x2a, moves = is_write || opcode == 0x28;
	uint8_t cdb[10] = { opcode, 0, 0, 0, (uint8_t)(lba >> 8), (uint8_t)lba, 0, 0, (uint8_t)blocks };
	uint32_t len = moves ? blocks * 512 : 0;

	fill(nth, target, cdb, sizeof(cdb));
	chain(queue, nth, is_write ? len : 0, is_write ? 0 : opcode == 0x25 ? 8 : len);
}

static void done(unsigned int queue, unsigned int nth, uint8_t wanted, uint8_t status)
{
	CHECK_EQ(next_used(queue), 4 * nth);
	CHECK_EQ(response(nth)[11], wanted);
	if (wanted == OK)
		CHECK_EQ(response(nth)[10], status);
}

static void sense(unsigned int nth, uint8_t key, uint8_t asc, uint8_t ascq)
{
	CHECK_EQ(response(nth)[0], 18);
	CHECK_EQ(response(nth)[12 + 2], key);
	CHECK_EQ(response(nth)[12 + 12], asc);
	CHECK_EQ(response(nth)[12 + 13], ascq);
}

/* The attention that a target has when it comes is heard. */
static void power_on(uint8_t target)
{
	send(REQ, 0, target, 0x00, 0, 0);
	done(REQ, 0, OK, 2);
	sense(0, 6, 0x29, 1);
	send(REQ, 0, target, 0x00, 0, 0);
	done(REQ, 0, OK, 0);
}

/* ---- disks ---- */

static void failed(void *arg, const struct vmm_disk_failure *failure)
{
	__atomic_fetch_add(&nr_failed, 1, __ATOMIC_SEQ_CST);
}

static struct vmm_disk disk_of(const char *uri)
{
	struct vmm_disk disk = { .lock_fd = -1, .failed = failed };

	CHECK_OK(bdev_open(uri, NULL, &disk.bdev, NULL));
	disk.name = bdev_name(disk.bdev);
	return disk;
}

static void gone(void *arg, int flush_err)
{
	bdev_close(((struct vmm_disk *)arg)->bdev);
	gone_err = flush_err;
	nr_gone++;
}

static uint8_t attach(struct vmm_disk *disk, const char *uri)
{
	unsigned int target;

	*disk = disk_of(uri);
	CHECK_OK(vmm_virtio_scsi_attach(scsi, disk, uri, &target));
	return (uint8_t)target;
}

static void let_go(struct vmm_disk *disk, uint8_t target)
{
	int before = nr_gone;

	CHECK_OK(vmm_virtio_scsi_detach(scsi, target, true, gone, disk));
	WAIT(nr_gone > before);
}

/* Event buffer nth, of 16 bytes, in slot 15. */
static void offer_event(unsigned int nth)
{
	desc(EVENTS, nth, SLOTS + SLOT_BYTES * 15 + 64 * nth, 16, WRITE);
	offer(EVENTS, (uint16_t)nth);
	kick(EVENTS);
}

static void heard(unsigned int nth, uint32_t what, uint8_t target, uint32_t reason)
{
	uint8_t *p = slot(15) + 64 * nth;

	CHECK_EQ(next_used(EVENTS), nth);
	CHECK_EQ(le32_get(*(struct le32 *)(void *)p), what);
	CHECK_EQ(p[4], 1);
	CHECK_EQ(p[5], target);
	CHECK_EQ(le32_get(*(struct le32 *)(void *)(p + 12)), reason);
}

/* ---- tests ---- */

static void requests(void)
{
	static const uint8_t read8[] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 };
	struct vmm_disk disk, other;
	uint8_t t = attach(&disk, "ram:4M"), u = attach(&other, "ram:8M");

	CHECK_EQ(t, 0);
	CHECK_EQ(u, 1);
	start(F_HOTPLUG | F_CHANGE);
	CHECK_EQ(get(0x2000, 4), 2);
	CHECK_EQ(get(0x201e, 2), 255);
	power_on(t);
	power_on(u);
	send(REQ, 0, 2, 0x00, 0, 0);
	done(REQ, 0, BAD_TARGET, 0);
	send(REQ2, 0, u, 0x25, 0, 0);
	done(REQ2, 0, OK, 0);
	CHECK_EQ(data(0)[2] << 8 | data(0)[3], 16383);
	/* written on one queue, read on the other, and not on the other disk */
	memset(data(1), 0x5a, 1024);
	send(REQ, 1, t, 0x2a, 5, 2);
	done(REQ, 1, OK, 0);
	send(REQ2, 2, t, 0x28, 5, 2);
	done(REQ2, 2, OK, 0);
	CHECK(memcmp(data(1), data(2), 1024) == 0);
	CHECK_EQ(le32_get(*(struct le32 *)(void *)(response(2) + 4)), 0);
	send(REQ2, 2, u, 0x28, 5, 2);
	done(REQ2, 2, OK, 0);
	CHECK_EQ(data(2)[0], 0);
	/* cut: the header in three, response and data in one */
	fill(3, t, read8, sizeof(read8));
	desc(REQ, 0, SLOTS + SLOT_BYTES * 3, 5, NEXT);
	desc(REQ, 1, SLOTS + SLOT_BYTES * 3 + 5, 20, NEXT);
	desc(REQ, 2, SLOTS + SLOT_BYTES * 3 + 25, 26, NEXT);
	desc(REQ, 3, SLOTS + SLOT_BYTES * 3 + 0x1000, 7, WRITE | NEXT);
	desc(REQ, 4, SLOTS + SLOT_BYTES * 3 + 0x1007, 101 + 1000, WRITE | NEXT);
	desc(REQ, 5, SLOTS + SLOT_BYTES * 3 + 0x1007 + 1101, 24 + 100, WRITE);
	memset(response(3), 0xee, 108 + 1124);
	offer(REQ, 0);
	kick(REQ);
	CHECK_EQ(next_used(REQ), 0);
	CHECK_EQ(response(3)[11], OK);
	CHECK_EQ(response(3)[10], 0);
	CHECK_EQ(response(3)[4], 100); /* of the data that is not filled */
	CHECK(memcmp(response(3) + 108, data(1), 1024) == 0);
	CHECK_EQ(response(3)[108 + 1024], 0xee);
	/* a logical unit that is none; sizes that do not fit; both ways at once */
	fill(4, t, (uint8_t[]){ 0x12, 0, 0, 0, 36 }, 5);
	slot(4)[3] = 7;
	chain(REQ, 4, 0, 36);
	done(REQ, 4, OK, 0);
	CHECK_EQ(data(4)[0], 0x7f);
	fill(4, t, read8, sizeof(read8));
	chain(REQ, 4, 0, 1000);
	done(REQ, 4, OVERRUN, 0);
	fill(4, t, read8, sizeof(read8));
	desc(REQ, 0, SLOTS + SLOT_BYTES * 4, 60, NEXT);
	desc(REQ, 1, SLOTS + SLOT_BYTES * 4 + 0x1000, 2000, WRITE);
	offer(REQ, 0);
	kick(REQ);
	CHECK_EQ(next_used(REQ), 0);
	CHECK_EQ(response(4)[11], FAILURE);
	let_go(&disk, t);
	let_go(&other, u);
}

static void hot_plug(void)
{
	struct vmm_disk disks[5];

	start(F_HOTPLUG | F_CHANGE);
	/* more than there are buffers for: they wait, and none is lost */
	offer_event(0);
	for (unsigned int i = 0; i < 5; i++)
		CHECK_EQ(attach(&disks[i], "ram:4M"), i);
	heard(0, 1, 0, 1);
	CHECK_EQ(used(EVENTS), 1);
	for (unsigned int i = 1; i < 5; i++)
		offer_event(i);
	for (unsigned int i = 1; i < 5; i++)
		heard(i, 1, (uint8_t)i, 1);
	power_on(3);
	/* asked to let it go the driver still uses it, and gives other buffers; then it is done */
	CHECK_OK(vmm_virtio_scsi_detach(scsi, 3, false, gone, &disks[3]));
	CHECK_EQ(vmm_virtio_scsi_detach(scsi, 3, false, gone, &disks[3]), -EALREADY);
	offer_event(0);
	heard(0, 1, 3, 2);
	offer_event(1);
	nr_gone = 0;
	for (unsigned int i = 0; i < 100; i++) {
		send(REQ, 1, 3, 0x2a, i, 1);
		done(REQ, 1, OK, 0);
		loop_run_once(loop, false);
	}
	CHECK_EQ(nr_gone, 0);
	offer_event(0);
	WAIT(nr_gone == 1);
	CHECK_EQ(gone_err, 0);
	send(REQ, 1, 3, 0x28, 0, 1);
	done(REQ, 1, BAD_TARGET, 0);
	/* its place is free */
	CHECK_EQ(attach(&disks[3], "ram:4M"), 3);
	heard(1, 1, 3, 1);
	/* a driver that resets has let go */
	CHECK_OK(vmm_virtio_scsi_detach(scsi, 4, false, gone, &disks[4]));
	heard(0, 1, 4, 2);
	start(F_HOTPLUG);
	WAIT(nr_gone == 2);
	/* one that does not take events is not asked, and hears of a new one by the others */
	start(0);
	power_on(0);
	CHECK_EQ(vmm_virtio_scsi_detach(scsi, 0, false, gone, &disks[0]), -EOPNOTSUPP);
	CHECK_EQ(attach(&disks[4], "ram:4M"), 4);
	send(REQ, 0, 0, 0x00, 0, 0);
	done(REQ, 0, OK, 2);
	sense(0, 6, 0x3f, 0x0e);
	for (uint8_t i = 0; i < 5; i++)
		let_go(&disks[i], i);
}

static void resize(void)
{
	struct bdev_req measure = { .op = BDEV_MEASURE };
	struct bdev_queue *queue;
	struct vmm_disk disk;
	uint8_t t;

	start(F_HOTPLUG | F_CHANGE);
	for (unsigned int i = 0; i < 4; i++)
		offer_event(i);
	t = attach(&disk, "ram:8M");
	heard(0, 1, t, 1);
	power_on(t);
	vmm_virtio_scsi_resized(scsi, t); /* it is not */
	bdev_ram_show(disk.bdev, 4 << 20);
	CHECK_OK(bdev_queue_open(disk.bdev, loop, &queue));
	CHECK_OK(bdev_sync(queue, &measure));
	bdev_queue_close(queue);
	vmm_virtio_scsi_resized(scsi, t);
	heard(1, 3, t, 0x092a);
	send(REQ, 0, t, 0x25, 0, 0);
	done(REQ, 0, OK, 2);
	sense(0, 6, 0x2a, 9);
	send(REQ, 0, t, 0x25, 0, 0);
	done(REQ, 0, OK, 0);
	CHECK_EQ(data(0)[2] << 8 | data(0)[3], 8191);
	let_go(&disk, t);
	heard(2, 1, t, 2);
}

static void tmf(unsigned int nth, uint32_t subtype, uint8_t target, uint8_t lun, uint8_t id)
{
	uint8_t *p = slot(nth);

	memset(p, 0, 24);
	memcpy(p + 4, &subtype, 4);
	p[8] = 1;
	p[9] = target;
	p[11] = lun;
	p[16] = id;
	response(nth)[0] = 0xee;
	desc(CTRL, 4 * nth, SLOTS + SLOT_BYTES * nth, 24, NEXT);
	desc(CTRL, 4 * nth + 1, SLOTS + SLOT_BYTES * nth + 0x1000, 1, WRITE);
	offer(CTRL, (uint16_t)(4 * nth));
	kick(CTRL);
}

static uint8_t tmf_done(unsigned int nth)
{
	CHECK_EQ(next_used(CTRL), 4 * nth);
	return response(nth)[0];
}

/* Until the device has taken it; it does not end so soon. */
static void under_way(uint8_t target, uint8_t id)
{
	uint8_t answer = OK;

	for (time_t end = time(NULL) + 60; answer != SUCCEEDED;) {
		CHECK(time(NULL) < end);
		tmf(8, 6, target, 0, id);
		answer = tmf_done(8);
	}
}

static void task_management(void)
{
	struct vmm_disk disk, slow;
	uint8_t t, u;

	start(F_HOTPLUG);
	t = attach(&disk, "ram:4M");
	u = attach(&slow, "delay(read_ms=1500)|ram:4M");
	power_on(t);
	power_on(u);
	tmf(9, 5, 77, 0, 0);
	CHECK_EQ(tmf_done(9), BAD_TARGET);
	tmf(9, 5, t, 1, 0);
	CHECK_EQ(tmf_done(9), INCORRECT_LUN);
	tmf(9, 2, t, 0, 0);
	CHECK_EQ(tmf_done(9), REJECTED);
	tmf(9, 6, t, 0, 101);
	CHECK_EQ(tmf_done(9), OK);
	/* what is with the disk is waited for, on whatever queue; what is not meant goes on */
	send(REQ, 1, u, 0x28, 0, 1);
	send(REQ2, 2, u, 0x28, 0, 1);
	under_way(u, 101);
	under_way(u, 102);
	tmf(10, 6, u, 0, 200);
	CHECK_EQ(tmf_done(10), OK);
	tmf(11, 0, u, 0, 101);
	CHECK_EQ(tmf_done(11), OK);
	CHECK_EQ(used(REQ), 5); /* before */
	done(REQ, 1, ABORTED, 0);
	done(REQ2, 2, OK, 0);
	/* all of the unit, and it hears of the reset; the other one does not */
	send(REQ, 1, u, 0x28, 0, 1);
	send(REQ2, 2, u, 0x28, 0, 1);
	send(REQ2, 3, t, 0x28, 0, 1);
	done(REQ2, 3, OK, 0);
	under_way(u, 101);
	under_way(u, 102);
	tmf(9, 5, u, 0, 0);
	CHECK_EQ(tmf_done(9), OK);
	CHECK_EQ(used(REQ), 6);
	CHECK_EQ(used(REQ2), 3);
	done(REQ2, 2, ABORTED, 0);
	done(REQ, 1, ABORTED, 0);
	send(REQ, 1, u, 0x00, 0, 0);
	done(REQ, 1, OK, 2);
	sense(1, 6, 0x29, 3);
	send(REQ, 1, t, 0x00, 0, 0);
	done(REQ, 1, OK, 0);
	/* a query of notifications: there are none */
	memset(slot(9), 0, 16);
	slot(9)[0] = 1;
	slot(9)[4] = 1;
	slot(9)[5] = t;
	desc(CTRL, 0, SLOTS + SLOT_BYTES * 9, 16, NEXT);
	desc(CTRL, 1, SLOTS + SLOT_BYTES * 9 + 0x1000, 5, WRITE);
	offer(CTRL, 0);
	kick(CTRL);
	CHECK_EQ(next_used(CTRL), 0);
	CHECK(memcmp(response(9), "\0\0\0\0\0", 5) == 0);
	/* taken away with a read under way: that ends first */
	nr_gone = 0;
	send(REQ, 1, u, 0x28, 0, 1);
	send(REQ, 2, t, 0x28, 0, 1);
	done(REQ, 2, OK, 0);
	CHECK_OK(vmm_virtio_scsi_detach(scsi, u, true, gone, &slow));
	CHECK_EQ(vmm_virtio_scsi_detach(scsi, u, true, gone, &slow), -EALREADY);
	send(REQ, 2, u, 0x28, 0, 1);
	done(REQ, 2, BAD_TARGET, 0);
	CHECK_EQ(nr_gone, 0);
	done(REQ, 1, OK, 0);
	WAIT(nr_gone == 1);
	let_go(&disk, t);
}

static void storage_fails(void)
{
	struct vmm_disk disk, flush;
	uint8_t t, u;

	start(F_HOTPLUG);
	t = attach(&disk, "fault(ops=write,nth=1,err=ENOSPC,sticky)|ram:4M");
	u = attach(&flush, "fault(ops=flush,nth=1,err=EIO,sticky)|ram:4M");
	power_on(t);
	power_on(u);
	/* held, tried again, held again, aborted */
	nr_failed = 0;
	send(REQ, 1, t, 0x2a, 0, 1);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 1);
	vmm_virtio_scsi_retry(scsi);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 2);
	CHECK_EQ(used(REQ), 4);
	tmf(9, 0, t, 0, 101);
	CHECK_EQ(tmf_done(9), OK);
	done(REQ, 1, ABORTED, 0);
	/* and then it passes */
	send(REQ, 1, t, 0x2a, 0, 1);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 3);
	bdev_fault_set(disk.bdev, NULL);
	vmm_virtio_scsi_retry(scsi);
	done(REQ, 1, OK, 0);
	/* a failed flush is told as it is tried again */
	send(REQ, 1, u, 0x35, 0, 0);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 4);
	vmm_virtio_scsi_retry(scsi);
	done(REQ, 1, OK, 2);
	sense(1, 3, 0x0c, 0);
	/* reported at once */
	disk.on_error = VMM_ON_ERROR_REPORT;
	bdev_fault_set(disk.bdev, &(struct bdev_fault_rule){ 1u << BDEV_READ, 1, -EIO, true });
	send(REQ, 1, t, 0x28, 0, 1);
	done(REQ, 1, OK, 2);
	sense(1, 3, 0x11, 0);
	CHECK_EQ(nr_failed, 4);
	/* taken away while one is held; the last flush fails */
	send(REQ, 1, u, 0x35, 0, 0);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 5);
	let_go(&flush, u);
	CHECK_EQ(gone_err, -EIO);
	done(REQ, 1, OK, 2);
	/* and while the driver resets */
	disk.on_error = VMM_ON_ERROR_PAUSE;
	send(REQ, 1, t, 0x28, 0, 1);
	WAIT(__atomic_load_n(&nr_failed, __ATOMIC_SEQ_CST) == 6);
	start(F_HOTPLUG);
	let_go(&disk, t);
}

static void hostile(void)
{
	struct vmm_disk disk;
	uint8_t t = attach(&disk, "ram:4M");

	/* less than a header; than a response; a response that we should read */
	for (unsigned int i = 0; i < 3; i++) {
		start(F_HOTPLUG);
		fill(1, t, (uint8_t[]){ 0 }, 1);
		desc(REQ, 0, SLOTS + SLOT_BYTES, i == 0 ? 50 : 51, NEXT);
		desc(REQ, 1, SLOTS + SLOT_BYTES + 0x1000, i == 1 ? 107 : 108, i == 2 ? 0 : WRITE);
		offer(REQ, 0);
		kick(REQ);
		WAIT(broken());
	}
	/* of another size, if the driver says so, until it resets */
	start(0);
	CHECK_EQ(get(0x2014, 4), 96);
	reg(0x2014, 4, 20);
	CHECK_EQ(get(0x2014, 4), 96); /* not while it works */
	reg(0x14, 1, 0);
	WAIT(status_is(0));
	reg(0x2014, 4, 1000);
	reg(0x2018, 4, 0);
	CHECK_EQ(get(0x2014, 4), 96);
	CHECK_EQ(get(0x2018, 4), 32);
	reg(0x2014, 4, 20);
	reg(0x2018, 4, 16);
	CHECK_EQ(get(0x2014, 4), 20);
	/* an event buffer that is too small, or to be read */
	for (unsigned int i = 0; i < 2; i++) {
		start(F_HOTPLUG);
		CHECK_EQ(get(0x2014, 4), 96);
		desc(EVENTS, 0, SLOTS, i ? 16 : 15, i ? 0 : WRITE);
		offer(EVENTS, 0);
		kick(EVENTS);
		WAIT(broken());
	}
	/* no such command; one that is cut short; no room for its answer */
	for (unsigned int i = 0; i < 3; i++) {
		start(F_HOTPLUG);
		memset(slot(1), 0, 24);
		slot(1)[0] = i == 0 ? 7 : 0;
		desc(CTRL, 0, SLOTS + SLOT_BYTES, i == 1 ? 23 : 24, i == 2 ? 0 : NEXT);
		desc(CTRL, 1, SLOTS + SLOT_BYTES + 0x1000, 1, WRITE);
		offer(CTRL, 0);
		kick(CTRL);
		WAIT(broken());
	}
	start(F_HOTPLUG);
	power_on(t);
	let_go(&disk, t);
}

static void ends(void)
{
	struct vmm_disk asked, slow, more[VMM_SCSI_TARGETS];
	uint8_t t, u;
	unsigned int target;

	start(F_HOTPLUG);
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++)
		CHECK_EQ(attach(&more[i], "ram:1M"), i);
	asked = disk_of("ram:1M");
	CHECK_EQ(vmm_virtio_scsi_attach(scsi, &asked, "x", &target), -ENOSPC);
	bdev_close(asked.bdev);
	for (unsigned int i = 0; i < VMM_SCSI_TARGETS; i++)
		let_go(&more[i], (uint8_t)i);
	start(F_HOTPLUG);
	t = attach(&asked, "ram:4M");
	u = attach(&slow, "delay(read_ms=300)|ram:4M");
	power_on(u);
	CHECK_OK(vmm_virtio_scsi_detach(scsi, t, false, gone, &asked));
	send(REQ, 1, u, 0x28, 0, 1);
	nr_gone = 0;
	vmm_virtio_scsi_free(scsi);
	CHECK_EQ(nr_gone, 0);
	bdev_close(asked.bdev);
	bdev_close(slow.bdev);
}

int main(void)
{
	CHECK_OK(loop_new(&loop));
	board_new(RAM);
	CHECK_OK(vmm_virtio_scsi_new(mem, &pci, loop, 2, &scsi));
	dev = pci.slots[1]->arg;
	requests();
	hot_plug();
	resize();
	task_management();
	storage_fails();
	hostile();
	ends();
	vmm_mem_free(mem);
	loop_free(loop);
	return 0;
}
