/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/checked.h"
#include "vmm/boot_internal.h"
#include "vmm/layout.h"
#include "vmm/mem.h"

enum { MAP_RAM = 1, MAP_RESERVED = 2 };

#define HEADER_OFF 0x1f1
#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define ENTRY64_OFF 0x200
#define LOADER_UNKNOWN 0xff

#define PTE_PRESENT_WRITE 3u
#define PDE_LARGE 0x80u

int vmm_boot_fail(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

static int open_file(
	const char *path, const char *what, struct vmm_boot_file *ret_file, char **ret_error)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return vmm_boot_fail(ret_error, -errno, "cannot open the %s %s: %s", what, path,
			strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return vmm_boot_fail(ret_error, -EINVAL, "the %s %s is not a file", what, path);
	}
	*ret_file = (struct vmm_boot_file){ path, fd, (uint64_t)st.st_size };
	return 0;
}

int vmm_boot_load(struct vmm_mem *mem, const struct vmm_boot_file *file, uint64_t off_bytes,
	uint64_t len_bytes, uint64_t addr, char **ret_error)
{
	const char *path = file->path;
	void *ptr;
	int err = vmm_mem_ptr(mem, addr, len_bytes, &ptr);

	if (err)
		return vmm_boot_fail(ret_error, -ENOSPC, "the memory is too small for %s", path);
	for (uint64_t done = 0; done < len_bytes;) {
		ssize_t n = pread(file->fd, (uint8_t *)ptr + done, len_bytes - done,
			(off_t)(off_bytes + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vmm_boot_fail(
				ret_error, -errno, "cannot read %s: %s", path, strerror(errno));
		if (n == 0)
			return vmm_boot_fail(ret_error, -ENOEXEC, "%s ends too early", path);
		done += (uint64_t)n;
	}
	return 0;
}

int vmm_boot_initrd(struct vmm_mem *mem, const struct vmm_boot *boot, uint64_t floor,
	uint64_t ceiling, uint64_t *ret_addr, uint64_t *ret_len_bytes, char **ret_error)
{
	uint64_t top = MIN(MIN(vmm_mem_size(mem), (uint64_t)VMM_MEM_LOW_MAX), ceiling);
	struct vmm_boot_file file;
	int err;

	*ret_addr = *ret_len_bytes = 0;
	if (!boot->initrd)
		return 0;
	err = open_file(boot->initrd, "initrd", &file, ret_error);
	if (err)
		return err;
	if (file.size_bytes > top || ALIGN_DOWN(top - file.size_bytes, 4096) < floor) {
		err = vmm_boot_fail(
			ret_error, -ENOSPC, "the memory is too small for %s", boot->initrd);
	} else {
		*ret_len_bytes = file.size_bytes;
		*ret_addr = ALIGN_DOWN(top - file.size_bytes, 4096);
		err = vmm_boot_load(mem, &file, 0, file.size_bytes, *ret_addr, ret_error);
	}
	close(file.fd);
	return err;
}

int vmm_boot_cmdline(
	struct vmm_mem *mem, const struct vmm_boot *boot, uint64_t max_bytes, char **ret_error)
{
	const char *cmdline = boot->cmdline ? boot->cmdline : "";
	size_t len = strlen(cmdline);

	max_bytes = MIN(max_bytes, (uint64_t)VMM_LOW_END - VMM_CMDLINE - 1);
	if (len > max_bytes)
		return vmm_boot_fail(ret_error, -E2BIG,
			"the kernel's command line has %zu bytes, %llu can be", len,
			(unsigned long long)max_bytes);
	return vmm_mem_write(mem, VMM_CMDLINE, cmdline, len + 1);
}

unsigned int vmm_boot_map(
	const struct vmm_mem *mem, struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES])
{
	struct vmm_mem_range range;
	unsigned int nr = 0;

	for (unsigned int i = 0; vmm_mem_range(mem, i, &range) == 0; i++) {
		uint64_t end = range.guest_addr + range.len_bytes;

		if (i == 0) {
			ranges[nr++] = (struct vmm_boot_range){ 0, VMM_LOW_END, MAP_RAM };
			ranges[nr++] = (struct vmm_boot_range){ VMM_LOW_END,
				VMM_ACPI_END - VMM_LOW_END, MAP_RESERVED };
			range.guest_addr = VMM_ACPI_END;
		}
		ranges[nr++] = (struct vmm_boot_range){ range.guest_addr, end - range.guest_addr,
			MAP_RAM };
	}
	ranges[nr++] = (struct vmm_boot_range){ VMM_ECAM, VMM_ECAM_BYTES, MAP_RESERVED };
	return nr;
}

/* ---- a bzImage ---- */

static int load_bzimage(struct vmm_mem *mem, const struct vmm_boot_file *file,
	struct boot_params *params, char **ret_error)
{
	struct setup_header *hdr = &params->hdr;
	uint64_t setup_bytes;
	int err;

	if (pread(file->fd, hdr, sizeof(*hdr), HEADER_OFF) != sizeof(*hdr) ||
		hdr->header != HEADER_MAGIC)
		return vmm_boot_fail(ret_error, -ENOEXEC,
			"%s is not a kernel: neither a bzImage of Linux nor ELF with PVH",
			file->path);
	if (hdr->version < 0x20c || !(hdr->xloadflags & XLF_KERNEL_64))
		return vmm_boot_fail(ret_error, -ENOEXEC,
			"%s is not a 64-bit kernel of Linux 3.8 or newer", file->path);
	setup_bytes = ((hdr->setup_sects ? hdr->setup_sects : 4) + 1) * 512ull;
	if (file->size_bytes <= setup_bytes)
		return vmm_boot_fail(ret_error, -ENOEXEC, "%s ends too early", file->path);
	/* what it needs while it unpacks itself must be there, too */
	err = vmm_boot_load(
		mem, file, setup_bytes, file->size_bytes - setup_bytes, VMM_KERNEL, ret_error);
	if (!err && vmm_mem_size(mem) < (uint64_t)VMM_KERNEL + hdr->init_size)
		err = vmm_boot_fail(
			ret_error, -ENOSPC, "the memory is too small for %s", file->path);
	return err;
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

static int boot_bzimage(struct vmm_mem *mem, const struct vmm_boot *boot,
	const struct vmm_boot_file *kernel, struct vmm_boot_entry *ret_entry, char **ret_error)
{
	struct vmm_boot_range map[VMM_BOOT_MAX_RANGES];
	uint64_t initrd = 0, initrd_bytes = 0;
	struct boot_params params = { 0 };
	int err;

	err = load_bzimage(mem, kernel, &params, ret_error);
	if (!err)
		err = vmm_boot_initrd(mem, boot, (uint64_t)VMM_KERNEL + params.hdr.init_size,
			(uint64_t)params.hdr.initrd_addr_max + 1, &initrd, &initrd_bytes,
			ret_error);
	if (!err)
		err = vmm_boot_cmdline(mem, boot, params.hdr.cmdline_size, ret_error);
	if (err)
		return err;
	params.hdr.ramdisk_image = (uint32_t)initrd;
	params.hdr.ramdisk_size = (uint32_t)initrd_bytes;
	params.hdr.cmd_line_ptr = VMM_CMDLINE;
	params.hdr.type_of_loader = LOADER_UNKNOWN;
	params.acpi_rsdp_addr = VMM_ACPI;
	params.e820_entries = (uint8_t)vmm_boot_map(mem, map);
	for (unsigned int i = 0; i < params.e820_entries; i++)
		params.e820_table[i] =
			(struct boot_e820_entry){ map[i].addr, map[i].len_bytes, map[i].type };
	err = set_page_tables(mem);
	if (!err)
		err = vmm_mem_write(mem, VMM_BOOT_PARAMS, &params, sizeof(params));
	if (err)
		return vmm_boot_fail(ret_error, err, "the memory is too small for a kernel");
	*ret_entry = (struct vmm_boot_entry){ .rip = VMM_KERNEL + ENTRY64_OFF,
		.rsi = VMM_BOOT_PARAMS,
		.page_table = VMM_PAGE_TABLES };
	return 0;
}

int vmm_boot(struct vmm_mem *mem, const struct vmm_boot *boot, struct vmm_boot_entry *ret_entry,
	char **ret_error)
{
	struct vmm_boot_file kernel;
	uint8_t magic[SELFMAG];
	int err;

	*ret_error = NULL;
	err = open_file(boot->kernel, "kernel", &kernel, ret_error);
	if (err)
		return err;
	if (pread(kernel.fd, magic, sizeof(magic), 0) == sizeof(magic) &&
		memcmp(magic, ELFMAG, SELFMAG) == 0)
		err = vmm_boot_pvh(mem, boot, &kernel, ret_entry, ret_error);
	else
		err = boot_bzimage(mem, boot, &kernel, ret_entry, ret_error);
	close(kernel.fd);
	return err;
}
