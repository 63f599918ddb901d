/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI's fixed hardware, PM1 (ACPI 6.5, 4.8.3), and the reset line of the keyboard controller. */
#ifndef VMM_PM_H
#define VMM_PM_H

#include <stdbool.h>

#include "vmm/bus.h"
#include "vmm/state.h"

struct vmm_pm_ops {
	void (*irq)(void *arg, bool high); /* the SCI, level */
	void (*power_off)(void *arg);
	void (*reset)(void *arg);
};

struct vmm_pm {
	struct vmm_pm_state state;
	const struct vmm_pm_ops *ops;
	void *arg;
};

/* As after a reset, on the ports that layout.h says. ops and arg stay the caller's. Errors: those
 * of vmm_bus_map(). */
int vmm_pm_init(struct vmm_pm *pm, struct vmm_bus *ports, const struct vmm_pm_ops *ops, void *arg)
	__attribute__((warn_unused_result, nonnull(1, 2, 3)));

/* The power button is pressed. */
void vmm_pm_power_button(struct vmm_pm *pm) __attribute__((nonnull));

#endif
