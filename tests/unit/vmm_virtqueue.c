/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* A virtqueue in plain memory: what a good driver gets, and that each rule a bad one breaks is
 * seen. */
#include <errno.h>

#include "tests/unit/test.h"
#include "util/le.h"
#include "vmm/mem.h"
#include "vmm/virtqueue.h"

#define SIZE 8
#define RAM (1u << 20)
#define DESC 0x1000
#define AVAIL 0x2000
#define USED 0x3000
#define INDIRECT 0x4000
#define DATA 0x10000

enum { NEXT = 1, WRITE = 2, INDIRECT_FLAG = 4 };

static struct vmm_mem *mem;
static struct vmm_vq_state state;
static struct vmm_vq vq;

static void put16(uint64_t addr, uint16_t x)
{
	CHECK_OK(vmm_mem_write(mem, addr, &x, 2));
}

static uint16_t get16(uint64_t addr)
{
	uint16_t x;

	CHECK_OK(vmm_mem_read(mem, addr, &x, 2));
	return x;
}

static void desc(
	uint64_t table, int nth, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	uint64_t at = table + 16 * (uint64_t)nth;

	CHECK_OK(vmm_mem_write(mem, at, &addr, 8));
	CHECK_OK(vmm_mem_write(mem, at + 8, &len, 4));
	put16(at + 12, flags);
	put16(at + 14, next);
}

static void offer(uint16_t head)
{
	uint16_t idx = get16(AVAIL + 2);

	put16(AVAIL + 4 + 2 * (idx % SIZE), head);
	put16(AVAIL + 2, (uint16_t)(idx + 1));
}

static void begin(bool event_idx)
{
	if (mem)
		vmm_mem_free(mem);
	CHECK_OK(vmm_mem_new(RAM, &mem));
	state = (struct vmm_vq_state){
		.desc = DESC, .driver = AVAIL, .device = USED, .size = SIZE
	};
	CHECK_OK(vmm_vq_start(&vq, &state, mem, event_idx));
}

/* What the chain that begins at 0 gives. */
static int pop(struct vmm_vq_chain *chain)
{
	offer(0);
	return vmm_vq_pop(&vq, chain);
}

static void good(struct vmm_vq_chain *chain)
{
	begin(false);
	CHECK_EQ(vmm_vq_pop(&vq, chain), 0);
	desc(DESC, 0, DATA, 16, NEXT, 3);
	desc(DESC, 3, DATA + 100, 200, NEXT | WRITE, 5);
	desc(DESC, 5, DATA + 400, 1, WRITE, 0);
	CHECK_EQ(pop(chain), 1);
	CHECK_EQ(chain->head, 0);
	CHECK_EQ(chain->nr_out, 1);
	CHECK_EQ(chain->nr_in, 2);
	CHECK_EQ(chain->iov[1].iov_len, 200);
	CHECK_EQ(vmm_vq_pop(&vq, chain), 0);
	CHECK(vmm_vq_push(&vq, 0, 201));
	CHECK_EQ(get16(USED + 2), 1);
	CHECK_EQ(get16(USED + 8), 201);
	put16(AVAIL, 1); /* no interrupts */
	CHECK(!vmm_vq_push(&vq, 0, 0));
}

static void indirect(struct vmm_vq_chain *chain)
{
	begin(false);
	desc(DESC, 0, INDIRECT, 3 * 16, INDIRECT_FLAG, 0);
	desc(INDIRECT, 0, DATA, 16, NEXT, 2);
	desc(INDIRECT, 2, DATA + 64, 8, WRITE, 0);
	CHECK_EQ(pop(chain), 1);
	CHECK_EQ(chain->nr_out, 1);
	CHECK_EQ(chain->nr_in, 1);
	/* a table in a table */
	desc(INDIRECT, 2, INDIRECT, 16, INDIRECT_FLAG, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	desc(DESC, 0, INDIRECT, 17, INDIRECT_FLAG, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	desc(DESC, 0, RAM - 16, 32, INDIRECT_FLAG, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
}

static void hostile(struct vmm_vq_chain *chain)
{
	/* a loop */
	begin(false);
	desc(DESC, 0, DATA, 1, NEXT, 1);
	desc(DESC, 1, DATA, 1, NEXT, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	/* outside of memory, and around its end */
	begin(false);
	desc(DESC, 0, RAM - 8, 9, 0, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	desc(DESC, 0, UINT64_MAX - 3, 16, 0, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	/* nothing in it; readable after writable; an index that is none; too many at once */
	begin(false);
	desc(DESC, 0, DATA, 0, 0, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	desc(DESC, 0, DATA, 1, WRITE | NEXT, 1);
	desc(DESC, 1, DATA, 1, 0, 0);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	desc(DESC, 0, DATA, 1, NEXT, SIZE);
	CHECK_EQ(pop(chain), -EBADMSG);
	begin(false);
	offer(SIZE);
	CHECK_EQ(vmm_vq_pop(&vq, chain), -EBADMSG);
	begin(false);
	put16(AVAIL + 2, SIZE + 1);
	CHECK_EQ(vmm_vq_pop(&vq, chain), -EBADMSG);
}

static void bad_queue(void)
{
	struct vmm_vq_state bad = state;

	bad.size = 7;
	CHECK_EQ(vmm_vq_start(&vq, &bad, mem, false), -EBADMSG);
	bad.size = 0;
	CHECK_EQ(vmm_vq_start(&vq, &bad, mem, false), -EBADMSG);
	bad = state;
	bad.device = RAM - 8;
	CHECK_EQ(vmm_vq_start(&vq, &bad, mem, false), -EBADMSG);
	bad = state;
	bad.desc += 8;
	CHECK_EQ(vmm_vq_start(&vq, &bad, mem, false), -EBADMSG);
}

static void events(struct vmm_vq_chain *chain)
{
	begin(true);
	desc(DESC, 0, DATA, 1, WRITE, 0);
	CHECK(!vmm_vq_wait(&vq));
	CHECK_EQ(get16(USED + 4 + 8 * SIZE), 0);
	CHECK_EQ(pop(chain), 1);
	CHECK(vmm_vq_push(&vq, 0, 1));	/* the first is always told */
	put16(AVAIL + 4 + 2 * SIZE, 2); /* then not before two more */
	CHECK(!vmm_vq_push(&vq, 0, 1));
	CHECK(vmm_vq_push(&vq, 0, 1));
	offer(0);
	CHECK(vmm_vq_wait(&vq));
	CHECK_EQ(get16(USED + 4 + 8 * SIZE), 1);
}

int main(void)
{
	struct vmm_vq_chain chain;

	good(&chain);
	indirect(&chain);
	hostile(&chain);
	bad_queue();
	events(&chain);
	vmm_mem_free(mem);
	return 0;
}
