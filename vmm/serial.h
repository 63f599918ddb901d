/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A 16550A, with its FIFO and all its interrupts. Knows neither KVM nor where its bytes go.
 * Not thread-safe: whoever owns it holds the machine's mutex.
 *
 * S1  The interrupt line is high exactly while IIR says that something is pending.
 * S2  A transmitted byte leaves at once, so THR is always empty; the transmit interrupt is raised
 *     anew by each write to THR, and by enabling it, and falls when IIR shows it.
 */
#ifndef VMM_SERIAL_H
#define VMM_SERIAL_H

#include <stdbool.h>
#include <stddef.h>

#include "vmm/state.h"

struct vmm_serial_ops {
	void (*tx)(void *arg, uint8_t byte);
	void (*irq)(void *arg, bool high); /* called only on a change */
};

struct vmm_serial {
	struct vmm_serial_state state;
	const struct vmm_serial_ops *ops;
	void *arg;
	bool irq_high;
};

/* As after a reset. ops and arg stay the caller's and are kept. */
void vmm_serial_init(struct vmm_serial *serial, const struct vmm_serial_ops *ops, void *arg)
	__attribute__((nonnull(1, 2)));

/* The guest reads or writes register reg (0 to 7). PC16550D data sheet, 8. */
uint8_t vmm_serial_in(struct vmm_serial *serial, unsigned int reg) __attribute__((nonnull));
void vmm_serial_out(struct vmm_serial *serial, unsigned int reg, uint8_t value)
	__attribute__((nonnull));

/* How many bytes vmm_serial_rx() takes now. */
size_t vmm_serial_rx_room(const struct vmm_serial *serial) __attribute__((nonnull));

/* A byte arrives; with no room it is lost and the guest sees an overrun. */
void vmm_serial_rx(struct vmm_serial *serial, uint8_t byte) __attribute__((nonnull));

#endif
