/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/serial.h"

#include <assert.h>
#include <string.h>

enum { RBR_THR, IER_REG, IIR_FCR, LCR_REG, MCR_REG, LSR_REG, MSR_REG, SCR_REG };

#define IER_RX 0x01
#define IER_TX 0x02
#define IER_LINE 0x04

#define IIR_NONE 0x01
#define IIR_TX 0x02
#define IIR_RX 0x04
#define IIR_LINE 0x06
#define IIR_FIFO 0xc0

#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02

#define LCR_DLAB 0x80

#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DATA 0x01
#define LSR_OVERRUN 0x02
#define LSR_TX_EMPTY 0x60 /* THR and shift register */

#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80

static size_t fifo_size(const struct vmm_serial_state *state)
{
	return state->fcr & FCR_ENABLE ? VMM_SERIAL_FIFO : 1;
}

/* What IIR shows, by priority. */
static uint8_t pending(const struct vmm_serial_state *state)
{
	if (state->ier & IER_LINE && state->overrun)
		return IIR_LINE;
	if (state->ier & IER_RX && state->rx_count > 0)
		return IIR_RX;
	if (state->ier & IER_TX && state->thre_pending)
		return IIR_TX;
	return IIR_NONE;
}

static void update_irq(struct vmm_serial *serial)
{
	bool high = pending(&serial->state) != IIR_NONE;

	if (high == serial->irq_high)
		return;
	serial->irq_high = high;
	serial->ops->irq(serial->arg, high);
}

void vmm_serial_init(struct vmm_serial *serial, const struct vmm_serial_ops *ops, void *arg)
{
	memset(serial, 0, sizeof(*serial));
	serial->state.head =
		(struct vmm_state_head){ VMM_SERIAL_VERSION, sizeof(struct vmm_serial_state) };
	serial->state.dll = 1; /* 115,200 baud */
	serial->ops = ops;
	serial->arg = arg;
}

static uint8_t take_rx(struct vmm_serial_state *state)
{
	uint8_t byte;

	if (state->rx_count == 0)
		return 0;
	byte = state->rx[0];
	state->rx_count--;
	memmove(state->rx, state->rx + 1, state->rx_count);
	return byte;
}

static uint8_t modem_status(const struct vmm_serial_state *state)
{
	uint8_t mcr = state->mcr;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
	       (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static uint8_t read_iir(struct vmm_serial_state *state)
{
	uint8_t iir = pending(state);

	if (iir == IIR_TX)
		state->thre_pending = 0; /* (S2) */
	return iir | (state->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

uint8_t vmm_serial_in(struct vmm_serial *serial, unsigned int reg)
{
	struct vmm_serial_state *state = &serial->state;
	bool dlab = state->lcr & LCR_DLAB;
	uint8_t value = 0;

	switch (reg) {
	case RBR_THR:
		value = dlab ? state->dll : take_rx(state);
		break;
	case IER_REG:
		value = dlab ? state->dlm : state->ier;
		break;
	case IIR_FCR:
		value = read_iir(state);
		break;
	case LCR_REG:
		value = state->lcr;
		break;
	case MCR_REG:
		value = state->mcr;
		break;
	case LSR_REG:
		value = LSR_TX_EMPTY | (state->rx_count > 0 ? LSR_DATA : 0) |
			(state->overrun ? LSR_OVERRUN : 0);
		state->overrun = 0;
		break;
	case MSR_REG:
		value = modem_status(state);
		break;
	case SCR_REG:
		value = state->scr;
		break;
	}
	update_irq(serial);
	return value;
}

static void transmit(struct vmm_serial *serial, uint8_t value)
{
	if (serial->state.mcr & MCR_LOOP)
		vmm_serial_rx(serial, value);
	else
		serial->ops->tx(serial->arg, value);
	/* the line falls and rises again, for who counts edges */
	serial->state.thre_pending = 0;
	update_irq(serial);
	serial->state.thre_pending = 1;
}

static void write_ier(struct vmm_serial_state *state, uint8_t value)
{
	if (value & ~state->ier & IER_TX)
		state->thre_pending = 1; /* (S2) */
	state->ier = value & 0x0f;
}

static void write_fcr(struct vmm_serial_state *state, uint8_t value)
{
	if (value & FCR_CLEAR_RX || (value ^ state->fcr) & FCR_ENABLE)
		state->rx_count = 0;
	state->fcr = value & 0xc9;
}

void vmm_serial_out(struct vmm_serial *serial, unsigned int reg, uint8_t value)
{
	struct vmm_serial_state *state = &serial->state;
	bool dlab = state->lcr & LCR_DLAB;

	switch (reg) {
	case RBR_THR:
		if (dlab)
			state->dll = value;
		else
			transmit(serial, value);
		break;
	case IER_REG:
		if (dlab)
			state->dlm = value;
		else
			write_ier(state, value);
		break;
	case IIR_FCR:
		write_fcr(state, value);
		break;
	case LCR_REG:
		state->lcr = value;
		break;
	case MCR_REG:
		state->mcr = value & 0x1f;
		break;
	case SCR_REG:
		state->scr = value;
		break;
	}
	update_irq(serial);
}

size_t vmm_serial_rx_room(const struct vmm_serial *serial)
{
	size_t size = fifo_size(&serial->state);

	if (serial->state.mcr & MCR_LOOP || serial->state.rx_count >= size)
		return 0;
	return size - serial->state.rx_count;
}

void vmm_serial_rx(struct vmm_serial *serial, uint8_t byte)
{
	struct vmm_serial_state *state = &serial->state;

	if (state->rx_count < fifo_size(state))
		state->rx[state->rx_count++] = byte;
	else
		state->overrun = 1;
	update_irq(serial);
}
