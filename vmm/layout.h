/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where things are in the guest: one list, so that tables, devices and E820 agree. */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/* the first MiB, written before the guest starts */
#define VMM_BOOT_PARAMS 0x7000u
#define VMM_PAGE_TABLES 0x9000u /* six pages */
#define VMM_CMDLINE 0x20000u
#define VMM_LOW_END 0x9fc00u
#define VMM_ACPI 0xe0000u
#define VMM_ACPI_END 0x100000u
#define VMM_KERNEL 0x1000000u

/* VMM_MEM_LOW_MAX .. 4 GiB (mem.h) */
#define VMM_PCI_WINDOW 0xc0000000u
#define VMM_PCI_WINDOW_END 0xe0000000u
#define VMM_ECAM 0xe0000000u /* bus 0 alone */
#define VMM_ECAM_BYTES 0x100000u
#define VMM_IOAPIC 0xfec00000u
#define VMM_LAPIC 0xfee00000u

/* ports */
#define VMM_PORT_RTC 0x70u
#define VMM_PORT_COM1 0x3f8u
#define VMM_PORT_PM1_EVENT 0x600u
#define VMM_PORT_PM1_CONTROL 0x604u
#define VMM_PORT_PCI_CONFIG 0xcf8u
#define VMM_PORT_RESET 0x64u /* of the i8042 */
#define VMM_RESET_VALUE 0xfeu

/* interrupts */
#define VMM_IRQ_COM1 4
#define VMM_IRQ_RTC 8
#define VMM_IRQ_SCI 9

/* the register of the RTC that holds the century */
#define VMM_RTC_CENTURY 0x32u

/* SLP_TYP of soft off */
#define VMM_SLEEP_S5 5

#endif
