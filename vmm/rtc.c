/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/rtc.h"

#include <string.h>
#include <time.h>

#include "vmm/layout.h"

#define S_NS 1000000000ull
#define DAY_S 86400
#define UPDATE_NS 244000u /* before each second the registers are not to be read */

enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR
};
enum { REG_A = 0x0a, REG_B, REG_C, REG_D };

#define A_UPDATING 0x80
#define A_INITIAL 0x26 /* 32,768 Hz; 1,024 interrupts a second */
#define B_SET 0x80
#define B_ALARM 0x20
#define B_UPDATE 0x10
#define B_BINARY 0x04
#define B_24H 0x02
#define C_IRQ 0x80
#define C_ALARM 0x20
#define C_UPDATE 0x10
#define D_VALID 0x80
#define HOUR_PM 0x80
#define ANY 0xc0 /* an alarm's register of this or more: at each */

static int64_t now_s(const struct vmm_rtc *rtc)
{
	return (int64_t)(rtc->ops->now_ns(rtc->arg) / S_NS) + rtc->state.offset_s;
}

/* ---- numbers as the guest wants them ---- */

static uint8_t encode(const struct vmm_rtc *rtc, int n)
{
	return (uint8_t)(rtc->state.regs[REG_B] & B_BINARY ? n : n / 10 << 4 | n % 10);
}

static int decode(const struct vmm_rtc *rtc, uint8_t x)
{
	return rtc->state.regs[REG_B] & B_BINARY ? x : (x >> 4) * 10 + (x & 0x0f);
}

static uint8_t encode_hour(const struct vmm_rtc *rtc, int hour)
{
	if (rtc->state.regs[REG_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct vmm_rtc *rtc, uint8_t x)
{
	if (rtc->state.regs[REG_B] & B_24H)
		return decode(rtc, x);
	return decode(rtc, x & (uint8_t)~HOUR_PM) % 12 + (x & HOUR_PM ? 12 : 0);
}

/* ---- the time in the registers ---- */

static void show_time(struct vmm_rtc *rtc)
{
	uint8_t *regs = rtc->state.regs;
	time_t t = now_s(rtc);
	struct tm tm;

	gmtime_r(&t, &tm);
	regs[SECONDS] = encode(rtc, tm.tm_sec);
	regs[MINUTES] = encode(rtc, tm.tm_min);
	regs[HOURS] = encode_hour(rtc, tm.tm_hour);
	regs[WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	regs[DAY] = encode(rtc, tm.tm_mday);
	regs[MONTH] = encode(rtc, tm.tm_mon + 1);
	regs[YEAR] = encode(rtc, tm.tm_year % 100);
	regs[VMM_RTC_CENTURY] = encode(rtc, (tm.tm_year + 1900) / 100);
}

/* What the guest wrote is the time from now on (R1); timegm() makes a time of anything. */
static void take_time(struct vmm_rtc *rtc)
{
	const uint8_t *regs = rtc->state.regs;
	struct tm tm = {
		.tm_sec = decode(rtc, regs[SECONDS]),
		.tm_min = decode(rtc, regs[MINUTES]),
		.tm_hour = decode_hour(rtc, regs[HOURS]),
		.tm_mday = decode(rtc, regs[DAY]),
		.tm_mon = decode(rtc, regs[MONTH]) - 1,
		.tm_year =
			decode(rtc, regs[VMM_RTC_CENTURY]) * 100 + decode(rtc, regs[YEAR]) - 1900,
	};

	rtc->state.offset_s += timegm(&tm) - now_s(rtc);
	rtc->state.seen_s = now_s(rtc);
}

/* ---- interrupts ---- */

static bool alarm_is(const struct vmm_rtc *rtc, int64_t at_s)
{
	const uint8_t *regs = rtc->state.regs;
	int of_day = (int)(at_s % DAY_S);

	return (regs[SECONDS_ALARM] >= ANY || decode(rtc, regs[SECONDS_ALARM]) == of_day % 60) &&
	       (regs[MINUTES_ALARM] >= ANY ||
		       decode(rtc, regs[MINUTES_ALARM]) == of_day / 60 % 60) &&
	       ((regs[HOURS_ALARM] & ANY) == ANY ||
		       decode_hour(rtc, regs[HOURS_ALARM]) == of_day / 3600);
}

/* The first alarm after after_s; 0 = such a time never comes. */
static int64_t next_alarm(const struct vmm_rtc *rtc, int64_t after_s)
{
	for (int64_t s = after_s + 1; s <= after_s + DAY_S; s++) {
		if (alarm_is(rtc, s))
			return s;
	}
	return 0;
}

/* Sets the line and the timer by what stands in B and C. */
static void update(struct vmm_rtc *rtc)
{
	uint8_t *regs = rtc->state.regs;
	int64_t at_s = 0;

	regs[REG_C] &= (uint8_t)~C_IRQ;
	if (regs[REG_B] & regs[REG_C] & (C_ALARM | C_UPDATE))
		regs[REG_C] |= C_IRQ;
	rtc->ops->irq(rtc->arg, regs[REG_C] & C_IRQ);
	if (regs[REG_B] & B_UPDATE)
		at_s = rtc->state.seen_s + 1;
	else if (regs[REG_B] & B_ALARM && !(regs[REG_B] & B_SET))
		at_s = next_alarm(rtc, rtc->state.seen_s);
	rtc->ops->wake_at(rtc->arg, at_s ? (uint64_t)(at_s - rtc->state.offset_s) * S_NS : 0);
}

/* Flags what happened since it was last looked (R2). */
static void look(struct vmm_rtc *rtc)
{
	int64_t s = now_s(rtc), alarm_s;

	if (s == rtc->state.seen_s || rtc->state.regs[REG_B] & B_SET)
		return;
	if (s > rtc->state.seen_s) { /* the host's clock may be put back */
		alarm_s = next_alarm(rtc, rtc->state.seen_s);
		rtc->state.regs[REG_C] |= C_UPDATE | (alarm_s && alarm_s <= s ? C_ALARM : 0);
	}
	rtc->state.seen_s = s;
}

void vmm_rtc_tick(struct vmm_rtc *rtc)
{
	look(rtc);
	update(rtc);
}

/* ---- ports: where, then what ---- */

static bool is_time(unsigned int reg)
{
	return reg == SECONDS || reg == MINUTES || reg == HOURS ||
	       (reg >= WEEKDAY && reg <= YEAR) || reg == VMM_RTC_CENTURY;
}

static uint64_t read_port(void *arg, uint64_t off_bytes, unsigned int len_bytes)
{
	struct vmm_rtc *rtc = arg;
	uint8_t *regs = rtc->state.regs, reg = rtc->state.index, value;

	if (off_bytes == 0)
		return 0xff; /* cannot be read */
	if (is_time(reg) && !(regs[REG_B] & B_SET))
		show_time(rtc);
	if (reg == REG_A && !(regs[REG_B] & B_SET) &&
		rtc->ops->now_ns(rtc->arg) % S_NS >= S_NS - UPDATE_NS)
		return regs[REG_A] | A_UPDATING;
	if (reg != REG_C)
		return regs[reg];
	look(rtc);
	update(rtc);
	value = regs[REG_C];
	regs[REG_C] = 0;
	update(rtc);
	return value;
}

static void write_reg(struct vmm_rtc *rtc, unsigned int reg, uint8_t value)
{
	uint8_t *regs = rtc->state.regs, before = regs[REG_B];

	switch (reg) {
	case REG_A:
		regs[REG_A] = value & (uint8_t)~A_UPDATING;
		return;
	case REG_B:
		look(rtc);
		if (!(before & B_SET) && value & B_SET)
			show_time(rtc); /* it stands still in the registers */
		if (value & B_SET)
			value &= (uint8_t)~B_UPDATE;
		regs[REG_B] = value;
		if (before & B_SET && !(value & B_SET))
			take_time(rtc);
		break;
	case REG_C:
	case REG_D:
		return;
	default:
		if (is_time(reg) && !(before & B_SET)) {
			look(rtc);
			show_time(rtc);
			regs[reg] = value;
			take_time(rtc);
		}
		regs[reg] = value;
		if (reg > HOURS_ALARM && !is_time(reg))
			return; /* memory */
	}
	update(rtc);
}

static void write_port(void *arg, uint64_t off_bytes, unsigned int len_bytes, uint64_t value)
{
	struct vmm_rtc *rtc = arg;

	for (; len_bytes > 0; len_bytes--, off_bytes++, value >>= 8) {
		/* bit 7 masks the NMI, which nobody raises */
		if (off_bytes == 0)
			rtc->state.index = value & (sizeof(rtc->state.regs) - 1);
		else
			write_reg(rtc, rtc->state.index, (uint8_t)value);
	}
}

static const struct vmm_bus_ops port_ops = { .read = read_port, .write = write_port };

int vmm_rtc_init(
	struct vmm_rtc *rtc, struct vmm_bus *ports, const struct vmm_rtc_ops *ops, void *arg)
{
	*rtc = (struct vmm_rtc){
		.state.head = { VMM_RTC_VERSION, sizeof(struct vmm_rtc_state) },
		.ops = ops,
		.arg = arg,
	};
	rtc->state.regs[REG_A] = A_INITIAL;
	rtc->state.regs[REG_B] = B_24H;
	rtc->state.regs[REG_D] = D_VALID;
	rtc->state.seen_s = now_s(rtc);
	return vmm_bus_map(ports, VMM_PORT_RTC, 2, &port_ops, rtc);
}
