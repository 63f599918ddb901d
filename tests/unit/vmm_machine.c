/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* What needs no KVM: the serial port's interrupts, ACPI checksums, CPU topology, image locks. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/acpi.h"
#include "vmm/cpuid.h"
#include "vmm/image_lock.h"
#include "vmm/layout.h"
#include "vmm/mem.h"
#include "vmm/serial.h"

static bool line;
static int nr_sent;

static void tx(void *arg, uint8_t byte)
{
	nr_sent++;
}

static void irq(void *arg, bool high)
{
	CHECK(high != line);
	line = high;
}

static void serial(void)
{
	static const struct vmm_serial_ops ops = { .tx = tx, .irq = irq };
	struct vmm_serial port;

	vmm_serial_init(&port, &ops, NULL);
	CHECK_EQ(vmm_serial_in(&port, 5), 0x60);
	vmm_serial_out(&port, 1, 2); /* the transmit interrupt on: it comes at once */
	CHECK(line);
	CHECK_EQ(vmm_serial_in(&port, 2), 2);
	CHECK(!line);
	vmm_serial_out(&port, 0, 'x'); /* and after each byte */
	CHECK_EQ(nr_sent, 1);
	CHECK(line);
	CHECK_EQ(vmm_serial_in(&port, 2), 2);
	vmm_serial_out(&port, 1, 1);
	CHECK_EQ(vmm_serial_rx_room(&port), 1);
	vmm_serial_rx(&port, 'y');
	CHECK(line);
	CHECK_EQ(vmm_serial_rx_room(&port), 0);
	CHECK_EQ(vmm_serial_in(&port, 0), 'y');
	CHECK(!line);
}

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t x = 0;

	while (len--)
		x = (uint8_t)(x + *bytes++);
	return x;
}

static void acpi(void)
{
	uint8_t rsdp[36], table[4096];
	uint64_t xsdt, addr;
	uint32_t len;
	struct vmm_mem *mem;

	CHECK_OK(vmm_mem_new(1 << 20, &mem));
	CHECK_OK(vmm_acpi_write(mem, 64));
	CHECK_OK(vmm_mem_read(mem, VMM_ACPI, rsdp, sizeof(rsdp)));
	CHECK(memcmp(rsdp, "RSD PTR ", 8) == 0);
	CHECK_EQ(sum(rsdp, 20), 0);
	CHECK_EQ(sum(rsdp, 36), 0);
	memcpy(&xsdt, rsdp + 24, 8);
	for (int i = -1; i < 3; i++) {
		addr = xsdt;
		if (i >= 0)
			CHECK_OK(vmm_mem_read(mem, xsdt + 36 + 8 * (uint64_t)i, &addr, 8));
		CHECK_OK(vmm_mem_read(mem, addr + 4, &len, 4));
		CHECK(len >= 36 && len <= sizeof(table));
		CHECK_OK(vmm_mem_read(mem, addr, table, len));
		CHECK_EQ(sum(table, len), 0);
	}
	vmm_mem_free(mem);
}

static void topology(void)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[3];
	} cpuid = { .head.nent = 3 };

	cpuid.entries[0].function = 1;
	cpuid.entries[1].function = 0x0b;
	cpuid.entries[2].function = 0x0b;
	cpuid.entries[2].index = 1;
	vmm_cpuid_topology(&cpuid.head, 5, 6);
	CHECK_EQ(cpuid.entries[0].ebx >> 24, 5);
	CHECK_EQ(cpuid.entries[0].ebx >> 16 & 0xff, 8);
	CHECK(cpuid.entries[0].edx & 1u << 28);
	CHECK_EQ(cpuid.entries[1].eax, 0); /* no threads */
	CHECK_EQ(cpuid.entries[1].ecx, 0x100);
	CHECK_EQ(cpuid.entries[2].eax, 3);
	CHECK_EQ(cpuid.entries[2].ebx, 6);
	CHECK_EQ(cpuid.entries[2].ecx, 0x201);
	CHECK_EQ(cpuid.entries[2].edx, 5);
}

/* Who is refused learns who has it. */
static void holder(int a, int b)
{
	char host[65] = "", want[100], *text;

	CHECK(!vmm_image_lock_holder(b));
	vmm_image_lock_note(a);
	text = vmm_image_lock_holder(b);
	if (!text) { /* a file system without attributes of users */
		CHECK(fsetxattr(a, "user.x", "x", 1, 0) < 0);
		return;
	}
	CHECK_OK(gethostname(host, sizeof(host) - 1));
	snprintf(want, sizeof(want), "csvvm on %s, process %d, took it on 2", host, (int)getpid());
	CHECK(strncmp(text, want, strlen(want)) == 0);
	free(text);
	/* what somebody else wrote there is not shown */
	CHECK_OK(fsetxattr(a, "user.csvvm.holder", "a\x1b[2J 1 1", 9, 0));
	CHECK(!vmm_image_lock_holder(b));
	vmm_image_lock_forget(a);
	CHECK(!vmm_image_lock_holder(b));
}

static void locks(void)
{
	char path[] = "/var/tmp/vmm_machine.XXXXXX";
	int a = mkstemp(path), b = open(path, O_RDWR | O_CLOEXEC);
	int c = open(path, O_RDONLY | O_CLOEXEC), d = open(path, O_RDONLY | O_CLOEXEC);

	CHECK(a >= 0 && b >= 0 && c >= 0 && d >= 0);
	CHECK_OK(vmm_image_lock(a, true));
	CHECK_EQ(vmm_image_lock(b, true), -EBUSY);
	holder(a, b);
	CHECK_EQ(vmm_image_lock(c, false), -EBUSY);
	close(a);
	close(b);
	close(c);
	CHECK_OK(vmm_image_lock(d, false));
	c = open(path, O_RDWR | O_CLOEXEC);
	a = open(path, O_RDONLY | O_CLOEXEC);
	CHECK_OK(vmm_image_lock(a, false)); /* readers are friends */
	CHECK_EQ(vmm_image_lock(c, true), -EBUSY);
	close(a);
	close(c);
	close(d);
	unlink(path);
}

int main(void)
{
	serial();
	acpi();
	topology();
	locks();
	return 0;
}
