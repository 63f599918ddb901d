/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/checked.h"
#include "vmm/layout.h"
#include "vmm/mem.h"

#define E820_RAM 1
#define E820_RESERVED 2

#define HEADER_OFF 0x1f1
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define ENTRY64_OFF 0x200
#define LOADER_UNKNOWN 0xff

#define PTE_PRESENT_WRITE 3u
#define PDE_LARGE 0x80u

__attribute__((format(printf, 3, 4))) static int fail(
	char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

static int open_file(
	const char *path, const char *what, int *ret_fd, uint64_t *ret_bytes, char **ret_error)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return fail(ret_error, -errno, "cannot open the %s %s: %s", what, path,
			strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		err = fail(ret_error, -EINVAL, "the %s %s is not a file", what, path);
		close(fd);
		return err;
	}
	*ret_fd = fd;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/* Part of a file into memory. */
static int load(struct vmm_mem *mem, int fd, uint64_t off, uint64_t len_bytes, uint64_t addr,
	const char *path, char **ret_error)
{
	void *ptr;
	int err = vmm_mem_ptr(mem, addr, len_bytes, &ptr);

	if (err)
		return fail(ret_error, -ENOSPC, "the memory is too small for %s", path);
	for (uint64_t done = 0; done < len_bytes;) {
		ssize_t n = pread(fd, (uint8_t *)ptr + done, len_bytes - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(ret_error, -errno, "cannot read %s: %s", path, strerror(errno));
		if (n == 0)
			return fail(ret_error, -ENOEXEC, "%s ends too early", path);
		done += (uint64_t)n;
	}
	return 0;
}

static int load_kernel(
	struct vmm_mem *mem, const char *path, struct boot_params *params, char **ret_error)
{
	struct setup_header *hdr = &params->hdr;
	uint64_t size, setup_bytes;
	int fd, err;

	err = open_file(path, "kernel", &fd, &size, ret_error);
	if (err)
		return err;
	if (pread(fd, hdr, sizeof(*hdr), HEADER_OFF) != sizeof(*hdr) ||
		hdr->header != HEADER_MAGIC) {
		err = fail(ret_error, -ENOEXEC, "%s is not a Linux kernel (bzImage)", path);
		goto out;
	}
	if (hdr->version < 0x20c || !(hdr->xloadflags & XLF_KERNEL_64)) {
		err = fail(ret_error, -ENOEXEC, "%s is not a 64-bit kernel of Linux 3.8 or newer",
			path);
		goto out;
	}
	setup_bytes = ((hdr->setup_sects ? hdr->setup_sects : 4) + 1) * 512ull;
	if (size <= setup_bytes) {
		err = fail(ret_error, -ENOEXEC, "%s ends too early", path);
		goto out;
	}
	/* what it needs while it unpacks itself must be there, too */
	err = load(mem, fd, setup_bytes, size - setup_bytes, VMM_KERNEL, path, ret_error);
	if (!err && vmm_mem_size(mem) < (uint64_t)VMM_KERNEL + hdr->init_size)
		err = fail(ret_error, -ENOSPC, "the memory is too small for %s", path);
out:
	close(fd);
	return err;
}

/* As high as the kernel can have it, so that it does not lie where the kernel unpacks itself. */
static int load_initrd(
	struct vmm_mem *mem, const char *path, struct boot_params *params, char **ret_error)
{
	uint64_t size, top, addr;
	int fd, err;

	err = open_file(path, "initrd", &fd, &size, ret_error);
	if (err)
		return err;
	top = MIN(MIN(vmm_mem_size(mem), (uint64_t)VMM_MEM_LOW_MAX),
		(uint64_t)params->hdr.initrd_addr_max + 1);
	if (size > top || ALIGN_DOWN(top - size, 4096) < VMM_KERNEL + params->hdr.init_size) {
		err = fail(ret_error, -ENOSPC, "the memory is too small for %s", path);
		goto out;
	}
	addr = ALIGN_DOWN(top - size, 4096);
	err = load(mem, fd, 0, size, addr, path, ret_error);
	params->hdr.ramdisk_image = (uint32_t)addr;
	params->hdr.ramdisk_size = (uint32_t)size;
out:
	close(fd);
	return err;
}

static int set_cmdline(
	struct vmm_mem *mem, const char *cmdline, struct boot_params *params, char **ret_error)
{
	size_t len = strlen(cmdline);

	if (len > params->hdr.cmdline_size || len >= VMM_LOW_END - VMM_CMDLINE)
		return fail(ret_error, -E2BIG, "the kernel's command line has %zu bytes, %u can be",
			len, params->hdr.cmdline_size);
	params->hdr.cmd_line_ptr = VMM_CMDLINE;
	return vmm_mem_write(mem, VMM_CMDLINE, cmdline, len + 1);
}

static void add_e820(struct boot_params *params, uint64_t addr, uint64_t end, uint32_t type)
{
	params->e820_table[params->e820_entries++] =
		(struct boot_e820_entry){ addr, end - addr, type };
}

static void set_e820(const struct vmm_mem *mem, struct boot_params *params)
{
	struct vmm_mem_range range;

	for (unsigned int i = 0; vmm_mem_range(mem, i, &range) == 0; i++) {
		uint64_t end = range.guest_addr + range.len_bytes;

		if (i > 0) {
			add_e820(params, range.guest_addr, end, E820_RAM);
			continue;
		}
		add_e820(params, 0, VMM_LOW_END, E820_RAM);
		add_e820(params, VMM_LOW_END, VMM_ACPI_END, E820_RESERVED);
		add_e820(params, VMM_ACPI_END, end, E820_RAM);
	}
	add_e820(params, VMM_ECAM, VMM_ECAM + VMM_ECAM_BYTES, E820_RESERVED);
}

/* The first 4 GiB at their own addresses, in pages of 2 MiB. */
static int set_page_tables(struct vmm_mem *mem)
{
	uint64_t table[512] = { (VMM_PAGE_TABLES + 4096) | PTE_PRESENT_WRITE };
	int err = vmm_mem_write(mem, VMM_PAGE_TABLES, table, sizeof(table));

	table[0] = 0;
	for (uint64_t i = 0; i < 4; i++)
		table[i] = (VMM_PAGE_TABLES + (2 + i) * 4096) | PTE_PRESENT_WRITE;
	if (!err)
		err = vmm_mem_write(mem, VMM_PAGE_TABLES + 4096, table, sizeof(table));
	for (uint64_t dir = 0; !err && dir < 4; dir++) {
		for (uint64_t i = 0; i < 512; i++)
			table[i] = (dir * 512 + i) << 21 | PDE_LARGE | PTE_PRESENT_WRITE;
		err = vmm_mem_write(mem, VMM_PAGE_TABLES + (2 + dir) * 4096, table, sizeof(table));
	}
	return err;
}

int vmm_boot_linux(struct vmm_mem *mem, const struct vmm_boot *boot,
	struct vmm_boot_entry *ret_entry, char **ret_error)
{
	struct boot_params params = { 0 };
	int err;

	*ret_error = NULL;
	err = load_kernel(mem, boot->kernel, &params, ret_error);
	if (!err && boot->initrd)
		err = load_initrd(mem, boot->initrd, &params, ret_error);
	if (!err)
		err = set_cmdline(mem, boot->cmdline ? boot->cmdline : "", &params, ret_error);
	if (err)
		return err;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.acpi_rsdp_addr = VMM_ACPI;
	set_e820(mem, &params);
	err = set_page_tables(mem);
	if (!err)
		err = vmm_mem_write(mem, VMM_BOOT_PARAMS, &params, sizeof(params));
	if (err)
		return fail(ret_error, err, "the memory is too small for a kernel");
	*ret_entry = (struct vmm_boot_entry){ VMM_KERNEL + ENTRY64_OFF, VMM_BOOT_PARAMS,
		VMM_PAGE_TABLES };
	return 0;
}
