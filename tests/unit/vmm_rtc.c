/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* The real-time clock: time shown and set in each format, never torn; update and alarm interrupts,
 * and what a machine that is slow to look misses none of. */
#include "tests/unit/test.h"
#include "vmm/layout.h"
#include "vmm/rtc.h"

#define S 1000000000ull
#define MIDDAY 1711713599ull /* 2024-03-29 11:59:59 UTC, a Friday */

enum { A = 0x0a, B = 0x0b, C = 0x0c, D = 0x0d };

static uint64_t now_ns, wake_ns;
static bool line;
static struct vmm_bus ports;
static struct vmm_rtc rtc;

static uint64_t now(void *arg)
{
	return now_ns;
}

static void wake_at(void *arg, uint64_t at_ns)
{
	CHECK(at_ns == 0 || at_ns > now_ns - S);
	wake_ns = at_ns;
}

static void irq(void *arg, bool high)
{
	line = high;
}

static const struct vmm_rtc_ops ops = { .now_ns = now, .wake_at = wake_at, .irq = irq };

static uint8_t get(uint8_t reg)
{
	vmm_bus_write(&ports, VMM_PORT_RTC, 1, reg);
	return (uint8_t)vmm_bus_read(&ports, VMM_PORT_RTC + 1, 1);
}

static void set(uint8_t reg, uint8_t value)
{
	vmm_bus_write(&ports, VMM_PORT_RTC, 1, reg);
	vmm_bus_write(&ports, VMM_PORT_RTC + 1, 1, value);
}

static void begin(uint64_t s)
{
	ports.nr = 0;
	now_ns = s * S;
	line = false;
	wake_ns = 0;
	CHECK_OK(vmm_rtc_init(&rtc, &ports, &ops, NULL));
}

/* Time goes on to at_s, and the timer rings when it is due. */
static void go_to(uint64_t at_s)
{
	while (wake_ns && wake_ns <= at_s * S) {
		now_ns = wake_ns;
		vmm_rtc_tick(&rtc);
	}
	now_ns = at_s * S;
}

#define SAME_TIME(century, year, month, day, weekday, hour, minute, second)                        \
	do {                                                                                       \
		CHECK_EQ(get(VMM_RTC_CENTURY), century);                                           \
		CHECK_EQ(get(9), year);                                                            \
		CHECK_EQ(get(8), month);                                                           \
		CHECK_EQ(get(7), day);                                                             \
		CHECK_EQ(get(6), weekday);                                                         \
		CHECK_EQ(get(4), hour);                                                            \
		CHECK_EQ(get(2), minute);                                                          \
		CHECK_EQ(get(0), second);                                                          \
	} while (0)

static void shows(void)
{
	begin(MIDDAY);
	CHECK_EQ(get(B), 0x02);
	CHECK_EQ(get(D), 0x80);
	SAME_TIME(0x20, 0x24, 0x03, 0x29, 6, 0x11, 0x59, 0x59);
	go_to(MIDDAY + 1);
	SAME_TIME(0x20, 0x24, 0x03, 0x29, 6, 0x12, 0x00, 0x00);
	set(B, 0x06); /* binary */
	SAME_TIME(20, 24, 3, 29, 6, 12, 0, 0);
	set(B, 0x00); /* 12 hours */
	CHECK_EQ(get(4), 0x92);
	go_to(MIDDAY - 1);
	CHECK_EQ(get(4), 0x11);
	go_to(MIDDAY + 12 * 3600 + 1);
	CHECK_EQ(get(4), 0x12);
}

/* Who looks at the bit before, and is through in time, reads no half of two times. */
static void is_not_torn(void)
{
	begin(MIDDAY);
	CHECK_EQ(get(A), 0x26);
	now_ns = (MIDDAY + 1) * S - 244000;
	CHECK_EQ(get(A), 0xa6);
	now_ns -= 1;
	CHECK_EQ(get(A), 0x26);
	set(B, 0x82);
	now_ns += S / 2;
	CHECK_EQ(get(0), 0x59); /* it stands still */
	CHECK_EQ(get(A), 0x26);
}

static void is_set(void)
{
	begin(MIDDAY);
	set(B, 0x82);
	set(VMM_RTC_CENTURY, 0x19);
	set(9, 0x99);
	set(8, 0x12);
	set(7, 0x31);
	set(4, 0x23);
	set(2, 0x59);
	set(0, 0x58);
	go_to(MIDDAY + 10);
	set(B, 0x02);
	SAME_TIME(0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x58);
	go_to(MIDDAY + 12);
	SAME_TIME(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00);
	set(2, 0x30); /* while it runs, too */
	SAME_TIME(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x30, 0x00);
	set(0x7f, 0xa5); /* memory */
	CHECK_EQ(get(0x7f), 0xa5);
	vmm_bus_write(&ports, VMM_PORT_RTC, 2, 0x5a7e);
	CHECK_EQ(get(0x7e), 0x5a);
	for (unsigned int reg = 0; reg < 128; reg++) /* nonsense makes some time */
		set((uint8_t)reg, 0xff);
	set(B, 0x72);
	go_to(MIDDAY + 40);
}

static void updates(void)
{
	begin(MIDDAY);
	go_to(MIDDAY + 2);
	CHECK_EQ(get(C), 0x10); /* it flags what nobody wanted */
	CHECK_EQ(get(C), 0);
	set(B, 0x12);
	CHECK(!line);
	CHECK_EQ(wake_ns, (MIDDAY + 3) * S);
	go_to(MIDDAY + 3);
	CHECK(line);
	CHECK_EQ(get(C), 0x90);
	CHECK(!line);
	CHECK_EQ(wake_ns, (MIDDAY + 4) * S);
	go_to(MIDDAY + 9); /* the guest was slow: one flag */
	CHECK_EQ(get(C), 0x90);
	CHECK_EQ(get(C), 0);
	set(B, 0x02);
	CHECK_EQ(wake_ns, 0);
}

static void alarms(void)
{
	begin(MIDDAY);
	set(1, 0x30);
	set(3, 0x05);
	set(5, 0x12);
	CHECK_EQ(wake_ns, 0);
	set(B, 0x22);
	CHECK_EQ(wake_ns, (MIDDAY + 331) * S);
	go_to(MIDDAY + 330);
	CHECK(!line);
	CHECK_EQ(get(C), 0x10);
	go_to(MIDDAY + 331);
	CHECK(line);
	CHECK_EQ(get(C), 0xb0);
	CHECK(!line);
	CHECK_EQ(wake_ns, (MIDDAY + 331 + 86400) * S);
	set(5, 0xff); /* each hour */
	CHECK_EQ(wake_ns, (MIDDAY + 331 + 3600) * S);
	set(3, 0x66); /* never */
	CHECK_EQ(wake_ns, 0);
	set(3, 0x05);
	/* the guest moves its clock: the alarm comes by that */
	set(4, 0x20);
	CHECK_EQ(wake_ns, (MIDDAY + 331 + 3600) * S);
	now_ns = (MIDDAY + 4000) * S; /* the machine was paused: late, and not lost */
	vmm_rtc_tick(&rtc);
	CHECK_EQ(get(C), 0xb0);
	now_ns = MIDDAY * S; /* the host's clock is put back */
	vmm_rtc_tick(&rtc);
	CHECK(wake_ns > now_ns && wake_ns <= now_ns + 3600 * S);
}

int main(void)
{
	shows();
	is_not_torn();
	is_set();
	updates();
	alarms();
	return 0;
}
