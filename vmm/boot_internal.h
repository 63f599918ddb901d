/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the ways to boot (boot.h) share. */
#ifndef VMM_BOOT_INTERNAL_H
#define VMM_BOOT_INTERNAL_H

#include <stdint.h>

struct vmm_boot;
struct vmm_boot_entry;
struct vmm_mem;

struct vmm_boot_file {
	const char *path;
	int fd;
	uint64_t size_bytes;
};

/* A sentence for a person; returns err. */
int vmm_boot_fail(char **ret_error, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* len_bytes of the file, from off_bytes, into memory. Errors: -ENOSPC, -ENOEXEC it ends before, of read(). */
int vmm_boot_load(struct vmm_mem *mem, const struct vmm_boot_file *file, uint64_t off_bytes,
	uint64_t len_bytes, uint64_t addr, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* The initrd as high as can be between floor, where the kernel ends, and ceiling. *ret_len_bytes is
 * 0 if there is none. Errors: as above. */
int vmm_boot_initrd(struct vmm_mem *mem, const struct vmm_boot *boot, uint64_t floor,
	uint64_t ceiling, uint64_t *ret_addr, uint64_t *ret_len_bytes, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* The command line at VMM_CMDLINE; at most max_bytes. Errors: -E2BIG. */
int vmm_boot_cmdline(struct vmm_mem *mem, const struct vmm_boot *boot, uint64_t max_bytes,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

/* What there is of memory, in order; types as of E820 and of PVH, which are the same. */
#define VMM_BOOT_MAX_RANGES 8
struct vmm_boot_range {
	uint64_t addr, len_bytes;
	uint32_t type;
};
unsigned int vmm_boot_map(const struct vmm_mem *mem,
	struct vmm_boot_range ranges[VMM_BOOT_MAX_RANGES]) __attribute__((nonnull));

/* An ELF file with PVH. Errors: as of vmm_boot(). */
int vmm_boot_pvh(struct vmm_mem *mem, const struct vmm_boot *boot,
	const struct vmm_boot_file *kernel, struct vmm_boot_entry *ret_entry, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

#endif
