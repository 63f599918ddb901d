/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who answers an I/O port or a physical address that is not RAM. Two of them: ports and MMIO.
 * Held by the machine's mutex (V1); the data path does not come here, it has ioeventfds.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdint.h>

#define VMM_BUS_MAX 96

/* off_bytes from the start of the range; len_bytes is 1, 2, 4 or 8 and lies within the range. */
struct vmm_bus_ops {
	uint64_t (*read)(void *arg, uint64_t off_bytes, unsigned int len_bytes);
	void (*write)(void *arg, uint64_t off_bytes, unsigned int len_bytes, uint64_t value);
};

struct vmm_bus {
	unsigned int nr;
	struct vmm_bus_range {
		uint64_t base, len_bytes;
		const struct vmm_bus_ops *ops;
		void *arg;
	} ranges[VMM_BUS_MAX];
};

/* Errors: -EEXIST, part of it is taken; -ENOSPC, too many ranges; -EINVAL, empty or it wraps. */
int vmm_bus_map(struct vmm_bus *bus, uint64_t base, uint64_t len_bytes,
	const struct vmm_bus_ops *ops, void *arg)
	__attribute__((warn_unused_result, nonnull(1, 4)));

/* The range that begins at base is free again; nothing happens if there is none. */
void vmm_bus_unmap(struct vmm_bus *bus, uint64_t base) __attribute__((nonnull));

/* Where nobody answers, a read gives all ones and a write is dropped, as on real boards. */
uint64_t vmm_bus_read(const struct vmm_bus *bus, uint64_t addr, unsigned int len_bytes)
	__attribute__((nonnull));
void vmm_bus_write(const struct vmm_bus *bus, uint64_t addr, unsigned int len_bytes, uint64_t value)
	__attribute__((nonnull));

#endif
