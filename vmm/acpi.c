/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/acpi.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "util/le.h"
#include "vmm/layout.h"
#include "vmm/mem.h"

struct header {
	char signature[4];	  /* 0x00 */
	struct le32 len_bytes;	  /* 0x04 */
	uint8_t revision;	  /* 0x08 */
	uint8_t checksum;	  /* 0x09 */
	char oem[6];		  /* 0x0a */
	char oem_table[8];	  /* 0x10 */
	struct le32 oem_revision; /* 0x18 */
	char creator[4];	  /* 0x1c */
	struct le32 creator_revision;
} __attribute__((packed));
static_assert(sizeof(struct header) == 36, "ACPI 6.5, 5.2.6");

struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem[6];
	uint8_t revision;
	struct le32 rsdt;
	struct le32 len_bytes;
	struct le64 xsdt;
	uint8_t full_checksum;
	uint8_t reserved[3];
} __attribute__((packed));
static_assert(sizeof(struct rsdp) == 36, "ACPI 6.5, 5.2.5.3");

struct gas {
	uint8_t space, bits, bit_off, access;
	struct le64 addr;
} __attribute__((packed));

struct fadt {
	struct header head;
	struct le32 facs, dsdt; /* 0x24 */
	uint8_t reserved0, profile;
	struct le16 sci; /* 0x2e */
	struct le32 smi_cmd;
	uint8_t smi[4];
	struct le32 pm1a_event, pm1b_event; /* 0x38 */
	struct le32 pm1a_control, pm1b_control;
	struct le32 pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len; /* 0x58 */
	uint8_t pm2_len, timer_len, gpe0_len, gpe1_len, gpe1_base, cst;
	struct le16 c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty[2], day_alarm, month_alarm, century;
	struct le16 boot_arch; /* 0x6d */
	uint8_t reserved1;
	struct le32 flags; /* 0x70 */
	struct gas reset;  /* 0x74 */
	uint8_t reset_value;
	struct le16 arm_boot_arch;
	uint8_t minor;
	struct le64 x_facs, x_dsdt; /* 0x84 */
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control;
	struct gas x_pm2_control, x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
	uint8_t hypervisor[8];
} __attribute__((packed));
static_assert(sizeof(struct fadt) == 276, "ACPI 6.5, 5.2.9");
static_assert(offsetof(struct fadt, boot_arch) == 0x6d, "ACPI 6.5, 5.2.9");
static_assert(offsetof(struct fadt, x_facs) == 0x84, "ACPI 6.5, 5.2.9");

#define FADT_WBINVD (1u << 0)
#define FADT_C1 (1u << 2)
#define FADT_SLEEP_BUTTON_NOT_FIXED (1u << 5)
#define FADT_RESET_REG (1u << 10)
#define BOOT_NO_VGA (1u << 2)

/* Bytes that grow; the room is enough by construction. */
struct out {
	uint8_t bytes[4096];
	size_t len;
};

static void put(struct out *out, const void *bytes, size_t len)
{
	assert(out->len + len <= sizeof(out->bytes));
	memcpy(out->bytes + out->len, bytes, len);
	out->len += len;
}

static void put8(struct out *out, uint8_t x)
{
	put(out, &x, 1);
}

static void put16(struct out *out, uint16_t x)
{
	struct le16 le = le16_of(x);

	put(out, &le, 2);
}

static void put32(struct out *out, uint32_t x)
{
	struct le32 le = le32_of(x);

	put(out, &le, 4);
}

static void put64(struct out *out, uint64_t x)
{
	struct le64 le = le64_of(x);

	put(out, &le, 8);
}

static uint8_t checksum(const void *bytes, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
	return (uint8_t)-sum;
}

static void begin(struct out *out, const char *signature, uint8_t revision)
{
	struct header head = { .revision = revision,
		.oem = "CSVFS ",
		.oem_table = { 'C', 'S', 'V', 'V', 'M', ' ', ' ', ' ' },
		.oem_revision = le32_of(1),
		.creator = { 'C', 'S', 'V', 'V' },
		.creator_revision = le32_of(1) };

	memcpy(head.signature, signature, 4);
	out->len = 0;
	put(out, &head, sizeof(head));
}

/* Ends a table and writes it to *addr, which then is where the next one goes. */
static int end(struct out *out, struct vmm_mem *mem, uint64_t *addr, uint64_t *ret_table)
{
	struct header head;
	int err;

	memcpy(&head, out->bytes, sizeof(head));
	head.len_bytes = le32_of((uint32_t)out->len);
	head.checksum = 0;
	memcpy(out->bytes, &head, sizeof(head));
	head.checksum = checksum(out->bytes, out->len);
	memcpy(out->bytes, &head, sizeof(head));
	assert(*addr + out->len <= VMM_ACPI_END);
	err = vmm_mem_write(mem, *addr, out->bytes, out->len);
	*ret_table = *addr;
	*addr = (*addr + out->len + 63) / 64 * 64;
	return err;
}

/* ---- AML ---- */

enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_DEVICE = 0x82
};

/* A package length of two or three bytes around what was put since at. */
static void wrap(struct out *out, size_t at)
{
	size_t body = out->len - at, len = body + 3;
	uint8_t bytes[3] = { (uint8_t)(0x80 | (len & 0x0f)), (uint8_t)(len >> 4),
		(uint8_t)(len >> 12) };

	assert(out->len + 3 <= sizeof(out->bytes));
	memmove(out->bytes + at + 3, out->bytes + at, body);
	memcpy(out->bytes + at, bytes, 3);
	out->len += 3;
}

static void put_name(struct out *out, const char *name)
{
	put8(out, AML_NAME);
	put(out, name, 4);
}

static void put_dword(struct out *out, uint32_t x)
{
	put8(out, AML_DWORD);
	put32(out, x);
}

/* "PNP0A08" as the number that it is short for (ACPI 6.5, 19.3.4). */
static uint32_t eisa_id(const char *id)
{
	uint32_t x = 0;

	for (int i = 0; i < 3; i++)
		x = x << 5 | ((uint32_t)id[i] - 0x40);
	for (int i = 3; i < 7; i++)
		x = x << 4 | (uint32_t)(id[i] >= 'A' ? id[i] - 'A' + 10 : id[i] - '0');
	return htobe32(x);
}

static void put_id(struct out *out, const char *name, const char *id)
{
	put_name(out, name);
	put_dword(out, eisa_id(id));
}

/* Name (_CRS, Buffer) around the descriptors in crs. */
static void put_crs(struct out *out, const struct out *crs)
{
	size_t at;

	put_name(out, "_CRS");
	put8(out, AML_BUFFER);
	at = out->len;
	put8(out, AML_WORD);
	put16(out, (uint16_t)(crs->len + 2));
	put(out, crs->bytes, crs->len);
	put16(out, 0x0079); /* end tag, no checksum */
	wrap(out, at);
}

static void crs_io(struct out *crs, uint16_t port, uint8_t len)
{
	put8(crs, 0x47);
	put8(crs, 1);
	put16(crs, port);
	put16(crs, port);
	put8(crs, 1);
	put8(crs, len);
}

/* Address space descriptors, words and dwords (ACPI 6.5, 6.4.3.5): produced, fixed at both ends. */
static void crs_word_space(struct out *crs, uint8_t type, uint8_t flags, uint16_t min, uint16_t max)
{
	put8(crs, 0x88);
	put16(crs, 13);
	put8(crs, type);
	put8(crs, 0x0c);
	put8(crs, flags);
	put16(crs, 0);
	put16(crs, min);
	put16(crs, max);
	put16(crs, 0);
	put16(crs, (uint16_t)(max - min + 1));
}

static void crs_memory(struct out *crs, uint32_t min, uint32_t max)
{
	put8(crs, 0x87);
	put16(crs, 23);
	put8(crs, 0);
	put8(crs, 0x0c);
	put8(crs, 1); /* read and write, not cached */
	put32(crs, 0);
	put32(crs, min);
	put32(crs, max);
	put32(crs, 0);
	put32(crs, max - min + 1);
}

static void put_pci(struct out *out)
{
	struct out crs = { .len = 0 };
	size_t at;

	put8(out, AML_EXT);
	put8(out, AML_DEVICE);
	at = out->len;
	put(out, "PCI0", 4);
	put_id(out, "_HID", "PNP0A08");
	put_id(out, "_CID", "PNP0A03");
	put_name(out, "_UID");
	put_dword(out, 0);
	put_name(out, "_BBN");
	put_dword(out, 0);
	crs_word_space(&crs, 2, 0, 0, 0);
	crs_io(&crs, VMM_PORT_PCI_CONFIG, 8);
	crs_word_space(&crs, 1, 3, 0, VMM_PORT_PCI_CONFIG - 1);
	crs_word_space(&crs, 1, 3, VMM_PORT_PCI_CONFIG + 8, 0xffff);
	crs_memory(&crs, VMM_PCI_WINDOW, VMM_PCI_WINDOW_END - 1);
	put_crs(out, &crs);
	wrap(out, at);
}

/* A device of old, with its ports and an interrupt, edge. */
static void put_isa(struct out *out, const char *name, const char *id, uint16_t port,
	uint8_t nr_ports, unsigned int irq)
{
	struct out crs = { .len = 0 };
	size_t at;

	put8(out, AML_EXT);
	put8(out, AML_DEVICE);
	at = out->len;
	put(out, name, 4);
	put_id(out, "_HID", id);
	put_name(out, "_UID");
	put_dword(out, 1);
	crs_io(&crs, port, nr_ports);
	put8(&crs, 0x22);
	put16(&crs, (uint16_t)(1u << irq));
	put_crs(out, &crs);
	wrap(out, at);
}

static void make_dsdt(struct out *out)
{
	size_t at;

	begin(out, "DSDT", 2);
	put8(out, AML_SCOPE);
	at = out->len;
	put(out, "\\_SB_", 5);
	put_pci(out);
	put_isa(out, "COM1", "PNP0501", VMM_PORT_COM1, 8, VMM_IRQ_COM1);
	put_isa(out, "RTC0", "PNP0B00", VMM_PORT_RTC, 2, VMM_IRQ_RTC);
	wrap(out, at);
	put_name(out, "_S5_");
	put8(out, AML_PACKAGE);
	at = out->len;
	put8(out, 4);
	for (int i = 0; i < 4; i++) {
		put8(out, AML_BYTE);
		put8(out, i < 2 ? VMM_SLEEP_S5 : 0);
	}
	wrap(out, at);
}

static void make_madt(struct out *out, unsigned int nr_cpus)
{
	begin(out, "APIC", 5);
	put32(out, VMM_LAPIC);
	put32(out, 1); /* there are PICs */
	for (unsigned int i = 0; i < nr_cpus; i++) {
		put16(out, 8 << 8 | 0);
		put8(out, (uint8_t)i);
		put8(out, (uint8_t)i);
		put32(out, 1);
	}
	put16(out, 12 << 8 | 1); /* the IOAPIC, whose id comes after those of the CPUs */
	put16(out, (uint16_t)nr_cpus);
	put32(out, VMM_IOAPIC);
	put32(out, 0);
	put16(out, 10 << 8 | 2); /* the timer is at pin 2 */
	put16(out, 0);
	put32(out, 2);
	put16(out, 0);
	put16(out, 10 << 8 | 2); /* the SCI: level, active high */
	put16(out, VMM_IRQ_SCI << 8);
	put32(out, VMM_IRQ_SCI);
	put16(out, 0x0d);
	put16(out, 6 << 8 | 4); /* NMI of every CPU at LINT1 */
	put8(out, 0xff);
	put16(out, 0);
	put8(out, 1);
}

static void make_mcfg(struct out *out)
{
	begin(out, "MCFG", 1);
	put64(out, 0);
	put64(out, VMM_ECAM);
	put16(out, 0); /* segment */
	put16(out, 0); /* buses 0 to 0 */
	put32(out, 0);
}

static struct gas port(uint32_t addr, uint8_t bits)
{
	return (struct gas){ 1, bits, 0, (uint8_t)(bits / 8), le64_of(addr) };
}

static void make_fadt(struct out *out, uint64_t facs, uint64_t dsdt)
{
	struct fadt fadt = {
		.facs = le32_of((uint32_t)facs),
		.dsdt = le32_of((uint32_t)dsdt),
		.sci = le16_of(VMM_IRQ_SCI),
		.pm1a_event = le32_of(VMM_PORT_PM1_EVENT),
		.pm1a_control = le32_of(VMM_PORT_PM1_CONTROL),
		.pm1_event_len = 4,
		.pm1_control_len = 2,
		.c2_latency = le16_of(0xffff),
		.c3_latency = le16_of(0xffff),
		.century = VMM_RTC_CENTURY,
		.boot_arch = le16_of(BOOT_NO_VGA),
		.flags = le32_of(
			FADT_WBINVD | FADT_C1 | FADT_SLEEP_BUTTON_NOT_FIXED | FADT_RESET_REG),
		.reset = port(VMM_PORT_RESET, 8),
		.reset_value = VMM_RESET_VALUE,
		.minor = 5,
		.x_dsdt = le64_of(dsdt),
		.x_pm1a_event = port(VMM_PORT_PM1_EVENT, 32),
		.x_pm1a_control = port(VMM_PORT_PM1_CONTROL, 16),
	};

	begin(out, "FACP", 6);
	memcpy(&fadt.head, out->bytes, sizeof(fadt.head));
	out->len = 0;
	put(out, &fadt, sizeof(fadt));
}

static int write_rsdp(struct vmm_mem *mem, uint64_t xsdt)
{
	struct rsdp rsdp = { .oem = "CSVFS ",
		.revision = 2,
		.len_bytes = le32_of(sizeof(rsdp)),
		.xsdt = le64_of(xsdt) };

	memcpy(rsdp.signature, "RSD PTR ", 8);
	rsdp.checksum = checksum(&rsdp, 20);
	rsdp.full_checksum = checksum(&rsdp, sizeof(rsdp));
	return vmm_mem_write(mem, VMM_ACPI, &rsdp, sizeof(rsdp));
}

/* The FACS has no checksum and a place at a multiple of 64. */
static int write_facs(struct vmm_mem *mem, uint64_t addr)
{
	uint8_t facs[64] = { 'F', 'A', 'C', 'S', sizeof(facs) };

	facs[32] = 2;
	return vmm_mem_write(mem, addr, facs, sizeof(facs));
}

int vmm_acpi_write(struct vmm_mem *mem, unsigned int nr_cpus)
{
	uint64_t facs = VMM_ACPI + 64, next = facs + 64, dsdt, tables[3], xsdt;
	struct out out;
	int err;

	assert(nr_cpus >= 1 && nr_cpus < 255);
	err = write_facs(mem, facs);
	if (err)
		return err;
	make_dsdt(&out);
	err = end(&out, mem, &next, &dsdt);
	make_fadt(&out, facs, dsdt);
	err = err ? err : end(&out, mem, &next, &tables[0]);
	make_madt(&out, nr_cpus);
	err = err ? err : end(&out, mem, &next, &tables[1]);
	make_mcfg(&out);
	err = err ? err : end(&out, mem, &next, &tables[2]);
	if (err)
		return err;
	begin(&out, "XSDT", 1);
	for (int i = 0; i < 3; i++)
		put64(&out, tables[i]);
	err = end(&out, mem, &next, &xsdt);
	return err ? err : write_rsdp(mem, xsdt);
}
