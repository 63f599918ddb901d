/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* The config space of a virtio function: its capabilities, and the window by which firmware reaches the
 * registers before the BAR is mapped. */
#include "tests/unit/test.h"
#define SIZE 16
#include "tests/unit/virtio_driver.h"
#include "vmm/iothread.h"
#include "vmm/layout.h"
#include "vmm/virtio_balloon.h"

enum { BAR = 4, OFF = 8, LEN = 12, DATA = 16 };

static uint64_t cfg(unsigned int off, unsigned int len)
{
	return vmm_bus_read(&mmio, VMM_ECAM + (8 << 12) + off, len);
}

static void set_cfg(unsigned int off, unsigned int len, uint64_t value)
{
	vmm_bus_write(&mmio, VMM_ECAM + (8 << 12) + off, len, value);
}

/* Where the virtio capability of that type is. */
static unsigned int find(uint8_t type)
{
	unsigned int nr = 0, found = 0;

	for (unsigned int at = (unsigned int)cfg(0x34, 1); at; at = (unsigned int)cfg(at + 1, 1)) {
		CHECK(at >= 0x40 && at % 4 == 0 && nr++ < 10);
		if (cfg(at, 1) == 0x09 && cfg(at + 3, 1) == type) {
			CHECK_EQ(found, 0);
			found = at;
			CHECK_EQ(cfg(at + 2, 1), type == 2 || type == 5 ? 20 : 16);
		}
	}
	CHECK(found);
	return found;
}

static void aim(unsigned int cap, uint8_t bar, uint32_t off, uint32_t len)
{
	set_cfg(cap + BAR, 1, bar);
	set_cfg(cap + OFF, 4, off);
	set_cfg(cap + LEN, 4, len);
}

static void window(struct vmm_virtio_balloon *balloon)
{
	unsigned int cap = find(5);

	vmm_virtio_balloon_set(balloon, 7 * 4096);
	aim(cap, 0, 0x2000, 4);
	CHECK_EQ(cfg(cap + DATA, 4), 7); /* the balloon's size */
	aim(cap, 0, 0x14, 1);
	CHECK_EQ(cfg(cap + DATA, 1), 0);
	set_cfg(cap + DATA, 1, 3);
	CHECK_EQ(get(0x14, 1), 3); /* the status */
	CHECK_EQ(cfg(cap + DATA, 1), 3);
	aim(cap, 0, 0x16, 2);
	set_cfg(cap + DATA, 2, 2);
	CHECK_EQ(get(0x16, 2), 2);
	aim(cap, 0, 0x4000, 4); /* an MSI-X entry, which is not the device's */
	set_cfg(cap + DATA, 4, 0xfee00000);
	CHECK_EQ(cfg(cap + DATA, 4), 0xfee00000);
	/* what it does not reach stays as it is */
	static const struct {
		uint8_t bar;
		uint32_t off, len;
	} bad[] = { { 1, 0x14, 1 }, { 0, 0x14, 2 }, { 0, 0x14, 0 }, { 0, 0x15, 0x100 }, { 0, 0x8000, 1 },
		{ 0, UINT32_MAX, 1 } };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		aim(cap, bad[i].bar, bad[i].off, bad[i].len);
		set_cfg(cap + DATA, 1, 0xff);
		CHECK_EQ(cfg(cap + DATA, 1), 0);
		CHECK_EQ(get(0x14, 1), 3);
	}
	aim(cap, 0, 0x15, 2); /* not aligned */
	set_cfg(cap + DATA, 2, 0xffff);
	CHECK_EQ(cfg(cap + DATA, 2), 0);
	/* and the rest of the capability is not the guest's to write */
	set_cfg(cap, 4, UINT32_MAX);
	CHECK_EQ(find(5), cap);
}

static void where_parts_are(void)
{
	static const uint32_t offs[] = { [1] = 0, [2] = 0x3000, [3] = 0x1000, [4] = 0x2000 };

	for (uint8_t type = 1; type <= 4; type++) {
		unsigned int cap = find(type);

		CHECK_EQ(cfg(cap + BAR, 1), 0);
		CHECK_EQ(cfg(cap + OFF, 4), offs[type]);
		CHECK(cfg(cap + LEN, 4) > 0);
		set_cfg(cap + OFF, 4, 0x1234);
		CHECK_EQ(cfg(cap + OFF, 4), offs[type]);
	}
	CHECK_EQ(cfg(find(2) + DATA, 4), 4); /* bytes between doorbells */
	CHECK_EQ(cfg(0, 4), 0x10451af4);
	CHECK_EQ((uint32_t)vmm_bus_read(&mmio, VMM_ECAM + (16 << 12), 4), UINT32_MAX); /* an empty slot */
}

int main(void)
{
	struct vmm_virtio_balloon *balloon;
	struct vmm_iothread *thread;

	board_new(1 << 20);
	CHECK_OK(vmm_iothread_new(&thread));
	CHECK_OK(vmm_virtio_balloon_new(mem, &pci, thread, &balloon));
	dev = pci.slots[1]->arg;
	where_parts_are();
	window(balloon);
	vmm_virtio_balloon_free(balloon);
	vmm_iothread_free(thread);
	vmm_mem_free(mem);
	return 0;
}
