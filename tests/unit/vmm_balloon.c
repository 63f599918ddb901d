/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* The balloon and the random number generator, with this test as their driver: what is given up is the
 * host's again, and reads as zeroes; nothing else is touched, and nothing outside of the guest's memory
 * can be named. */
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/test.h"
#include "util/checked.h"
#include "vmm/iothread.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_rng.h"

#define SIZE 16
#include "tests/unit/virtio_driver.h"

#define RAM (8u << 20)
#define PAGE 4096u
#define LIST 0x80000  /* of page numbers */
#define BULK 0x100000 /* what is given up */
#define NR_PAGES ((RAM - BULK) / PAGE)

enum { INFLATE, DEFLATE, REPORTING };

static struct vmm_iothread *thread;
static uint16_t seen[3];

#define WAIT(cond)                                                                                 \
	for (time_t end_ = time(NULL) + 60; !(cond);) {                                            \
		CHECK(time(NULL) < end_);                                                          \
		sched_yield();                                                                     \
	}

static void start(unsigned int nr_queues)
{
	reg(0x14, 1, 0);
	WAIT(get(0x14, 1) == 0);
	memset(seen, 0, sizeof(seen));
	driver_start(nr_queues, get(0x04, 4) & 0xff);
}

/* Offers one buffer; gives what was written of it, or -1 if the device broke. */
static int64_t give(unsigned int queue, uint64_t addr, uint32_t len, uint16_t flags)
{
	uint32_t written;

	desc(queue, 0, addr, len, flags);
	offer(queue, 0);
	kick(queue);
	WAIT(used(queue) != seen[queue] || broken());
	if (broken())
		return -1;
	memcpy(&written, ram(ring(queue) + 0x2000) + 4 + 8 * (seen[queue]++ % SIZE) + 4, 4);
	return written;
}

static void fill(void)
{
	for (uint32_t i = 0; i < NR_PAGES; i++)
		memset(ram(BULK + i * PAGE), (int)(i % 255 + 1), PAGE);
}

static bool is_there(uint32_t page)
{
	unsigned char in_core;

	CHECK_OK(mincore(ram(BULK + page * PAGE), PAGE, &in_core));
	return in_core & 1;
}

/* Just those pages are the host's, as given says of each; they read as zeroes, and are the guest's then. */
static void check_given(bool (*given)(uint32_t page))
{
	for (uint32_t i = 0; i < NR_PAGES; i++) {
		const uint8_t *p = ram(BULK + i * PAGE);
		uint8_t wanted = (uint8_t)(given(i) ? 0 : i % 255 + 1);

		CHECK_EQ(is_there(i), !given(i));
		CHECK(p[0] == wanted && p[PAGE - 1] == wanted);
	}
	fill();
	CHECK(is_there(0) && is_there(NR_PAGES - 1));
}

static bool in_list(uint32_t page)
{
	return page % 5 < 2 || page > NR_PAGES - 40;
}

static bool in_report(uint32_t page)
{
	return page >= 100 && page < 300;
}

static bool never(uint32_t page)
{
	return false;
}

static void inflates(void)
{
	uint32_t nr = 0, page = 0;

	fill();
	while (page < NR_PAGES) {
		uint32_t list[200], n = 0;

		for (; page < NR_PAGES && n < 200; page++) {
			if (in_list(page))
				list[n++] = BULK / PAGE + page;
		}
		memcpy(ram(LIST), list, n * 4);
		CHECK_EQ(give(INFLATE, LIST, n * 4, 0), 0);
		nr += n;
	}
	reg(0x2004, 4, nr);
	check_given(in_list);
	CHECK_EQ(give(DEFLATE, LIST, 40, 0), 0);
	CHECK_EQ(give(INFLATE, LIST, 0, 0), -1); /* no buffer is empty */
}

static void reports(void)
{
	fill();
	/* bytes that are no whole page stay */
	CHECK_EQ(give(REPORTING, BULK + 100 * PAGE - 1, 200 * PAGE + 2, WRITE), 0);
	check_given(in_report);
	CHECK_EQ(give(REPORTING, BULK + 1, PAGE, WRITE), 0);
	check_given(never);
}

/* What no memory is, or cannot be read as a list, is refused, and takes nothing along. */
static void is_hostile(void)
{
	static const struct {
		unsigned int queue;
		uint32_t first, len;
		uint16_t flags;
	} bad[] = {
		{ INFLATE, RAM / PAGE, 4, 0 },
		{ INFLATE, UINT32_MAX, 4, 0 },
		{ INFLATE, 0x100000, 4, 0 }, /* 4 GiB, where there is none */
		{ INFLATE, BULK / PAGE, 3, 0 },
		{ INFLATE, BULK / PAGE, 4, WRITE },
		{ DEFLATE, BULK / PAGE, 4, WRITE },
		{ REPORTING, BULK / PAGE, PAGE, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		start(3);
		fill();
		memcpy(ram(LIST), &bad[i].first, 4);
		CHECK_EQ(give(bad[i].queue, LIST, bad[i].len, bad[i].flags), -1);
		check_given(never);
	}
}

static void balloon(void)
{
	struct vmm_virtio_balloon *balloon;

	CHECK_OK(vmm_virtio_balloon_new(mem, &pci, thread, &balloon));
	dev = pci.slots[1]->arg;
	start(3);
	CHECK_EQ(get(0x2000, 4), 0);
	uint64_t generation = get(0x15, 1);
	vmm_virtio_balloon_set(balloon, 5 * PAGE + 1);
	CHECK_EQ(get(0x2000, 4), 5);
	CHECK(get(0x15, 1) != generation);
	reg(0x2000, 4, 77); /* not the driver's to say */
	CHECK_EQ(get(0x2000, 4), 5);
	CHECK_EQ(vmm_virtio_balloon_bytes(balloon), 0);
	reg(0x2004, 4, 3);
	CHECK_EQ(vmm_virtio_balloon_bytes(balloon), 3 * PAGE);
	CHECK_EQ(get(0x2004, 4), 3);
	inflates();
	start(3);
	reports();
	is_hostile();
	vmm_virtio_balloon_free(balloon);
}

static void rng(void)
{
	struct vmm_virtio_rng *rng;
	unsigned int nr_zero = 0;

	CHECK_OK(vmm_virtio_rng_new(mem, &pci, thread, &rng));
	dev = pci.slots[1]->arg;
	start(1);
	memset(ram(BULK), 0, 2 * PAGE);
	CHECK_EQ(give(0, BULK, 100, WRITE), 100);
	for (int i = 0; i < 100; i++)
		nr_zero += *ram(BULK + (uint64_t)i) == 0;
	CHECK(nr_zero < 20);
	for (int i = 100; i < 200; i++)
		CHECK_EQ(*ram(BULK + (uint64_t)i), 0);
	CHECK_EQ(give(0, BULK, 2 * PAGE, WRITE), PAGE); /* so much at once */
	CHECK_EQ(give(0, BULK, 100, 0), -1);
	vmm_virtio_rng_free(rng);
}

int main(void)
{
	board_new(RAM);
	CHECK_OK(vmm_iothread_new(&thread));
	balloon();
	rng();
	vmm_iothread_free(thread);
	vmm_mem_free(mem);
	return 0;
}
