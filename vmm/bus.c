/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/bus.h"

#include <errno.h>
#include <stddef.h>

#include "util/checked.h"

int vmm_bus_map(struct vmm_bus *bus, uint64_t base, uint64_t len_bytes,
	const struct vmm_bus_ops *ops, void *arg)
{
	if (len_bytes == 0 || base + len_bytes < base)
		return -EINVAL;
	for (unsigned int i = 0; i < bus->nr; i++) {
		const struct vmm_bus_range *range = &bus->ranges[i];

		if (base < range->base + range->len_bytes && range->base < base + len_bytes)
			return -EEXIST;
	}
	if (bus->nr == VMM_BUS_MAX)
		return -ENOSPC;
	bus->ranges[bus->nr++] = (struct vmm_bus_range){ base, len_bytes, ops, arg };
	return 0;
}

void vmm_bus_unmap(struct vmm_bus *bus, uint64_t base)
{
	for (unsigned int i = 0; i < bus->nr; i++) {
		if (bus->ranges[i].base == base) {
			bus->ranges[i] = bus->ranges[--bus->nr];
			return;
		}
	}
}

static const struct vmm_bus_range *find(
	const struct vmm_bus *bus, uint64_t addr, unsigned int len_bytes)
{
	for (unsigned int i = 0; i < bus->nr; i++) {
		const struct vmm_bus_range *range = &bus->ranges[i];

		if (addr >= range->base &&
			range_ok(addr - range->base, len_bytes, range->len_bytes))
			return range;
	}
	return NULL;
}

uint64_t vmm_bus_read(const struct vmm_bus *bus, uint64_t addr, unsigned int len_bytes)
{
	const struct vmm_bus_range *range = find(bus, addr, len_bytes);

	return range ? range->ops->read(range->arg, addr - range->base, len_bytes) : UINT64_MAX;
}

void vmm_bus_write(const struct vmm_bus *bus, uint64_t addr, unsigned int len_bytes, uint64_t value)
{
	const struct vmm_bus_range *range = find(bus, addr, len_bytes);

	if (range)
		range->ops->write(range->arg, addr - range->base, len_bytes, value);
}
