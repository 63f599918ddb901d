/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/pm.h"

#include "vmm/layout.h"

#define PWRBTN (1u << 8)
#define SCI_EN 1u
#define SLP_TYP_SHIFT 10
#define SLP_EN (1u << 13)

enum { STATUS = 0, ENABLE = 2, CONTROL = VMM_PORT_PM1_CONTROL - VMM_PORT_PM1_EVENT };

static void update_sci(struct vmm_pm *pm)
{
	pm->ops->irq(pm->arg, pm->state.pm1_status & pm->state.pm1_enable);
}

/* The three registers as one run of bytes, so that any width of access works. */
static uint64_t read_pm1(void *arg, uint64_t off_bytes, unsigned int len_bytes)
{
	const struct vmm_pm_state *state = &((struct vmm_pm *)arg)->state;
	uint64_t all = (uint64_t)state->pm1_status | (uint64_t)state->pm1_enable << 16 |
		       (uint64_t)(state->pm1_control | SCI_EN) << 32;

	return all >> off_bytes * 8;
}

static void write_pm1(void *arg, uint64_t off_bytes, unsigned int len_bytes, uint64_t value)
{
	struct vmm_pm *pm = arg;

	for (unsigned int i = 0; i < len_bytes; i++, off_bytes++, value >>= 8) {
		unsigned int shift = off_bytes % 2 * 8;
		uint16_t bits = (uint16_t)((value & 0xff) << shift),
			 mask = (uint16_t)(0xff << shift);

		switch (off_bytes & ~1ull) {
		case STATUS: /* a one clears */
			pm->state.pm1_status &= (uint16_t)~bits;
			break;
		case ENABLE:
			pm->state.pm1_enable = (uint16_t)((pm->state.pm1_enable & ~mask) | bits);
			break;
		case CONTROL:
			pm->state.pm1_control = (uint16_t)((pm->state.pm1_control & ~mask) | bits);
			break;
		}
	}
	update_sci(pm);
	if (pm->state.pm1_control & SLP_EN) {
		pm->state.pm1_control &= (uint16_t)~SLP_EN;
		if ((pm->state.pm1_control >> SLP_TYP_SHIFT & 7) == VMM_SLEEP_S5)
			pm->ops->power_off(pm->arg);
	}
}

static uint64_t read_i8042(void *arg, uint64_t off_bytes, unsigned int len_bytes)
{
	return 0;
}

static void write_i8042(void *arg, uint64_t off_bytes, unsigned int len_bytes, uint64_t value)
{
	struct vmm_pm *pm = arg;

	if ((value & 0xff) == VMM_RESET_VALUE)
		pm->ops->reset(pm->arg);
}

static const struct vmm_bus_ops pm1_ops = { .read = read_pm1, .write = write_pm1 };
static const struct vmm_bus_ops i8042_ops = { .read = read_i8042, .write = write_i8042 };

int vmm_pm_init(struct vmm_pm *pm, struct vmm_bus *ports, const struct vmm_pm_ops *ops, void *arg)
{
	int err;

	*pm = (struct vmm_pm){
		.state.head = { VMM_PM_VERSION, sizeof(struct vmm_pm_state) },
		.ops = ops,
		.arg = arg,
	};
	err = vmm_bus_map(ports, VMM_PORT_PM1_EVENT, 6, &pm1_ops, pm);
	return err ? err : vmm_bus_map(ports, VMM_PORT_RESET, 1, &i8042_ops, pm);
}

void vmm_pm_power_button(struct vmm_pm *pm)
{
	pm->state.pm1_status |= PWRBTN;
	update_sci(pm);
}
