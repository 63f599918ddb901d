/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The real-time clock of PCs (MC146818A data sheet), in UTC, with its update and alarm interrupts.
 * It has no periodic interrupt: Linux makes those of timers of its own.
 *
 * R1  The clock is the host's plus offset_s. The guest sets it by writing the registers, which moves
 *     the offset; nothing counts here, so a machine that was paused comes back on time.
 * R2  Flags of what happened until seen_s stand in register C. Later events are found when the guest
 *     looks, or when the timer says that one is due whose interrupt is enabled.
 *
 * With the machine's mutex held (V1).
 */
#ifndef VMM_RTC_H
#define VMM_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/bus.h"
#include "vmm/state.h"

struct vmm_rtc_ops {
	uint64_t (*now_ns)(void *arg); /* CLOCK_REALTIME */
	/* Wants vmm_rtc_tick() at that time, instead of what was wanted before; 0 = never. */
	void (*wake_at)(void *arg, uint64_t at_ns);
	void (*irq)(void *arg, bool high);
};

struct vmm_rtc {
	struct vmm_rtc_state state;
	const struct vmm_rtc_ops *ops;
	void *arg;
};

/* As after power-on, with the host's time, on the ports that layout.h says. ops and arg stay the
 * caller's. Errors: those of vmm_bus_map(). */
int vmm_rtc_init(struct vmm_rtc *rtc, struct vmm_bus *ports, const struct vmm_rtc_ops *ops,
	void *arg) __attribute__((warn_unused_result, nonnull(1, 2, 3)));

/* The time that wake_at() asked for has come. */
void vmm_rtc_tick(struct vmm_rtc *rtc) __attribute__((nonnull));

#endif
