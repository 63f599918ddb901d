/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Puts a Linux kernel into the guest's memory, as a boot loader does. */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>

struct vmm_mem;

struct vmm_boot {
	const char *kernel;  /* a bzImage */
	const char *initrd;  /* or NULL */
	const char *cmdline; /* or NULL */
};

struct vmm_boot_entry {
	uint64_t rip, rsi, page_table;
};

/*
 * Loads what boot names, with its E820 map, parameters and page tables (64-bit boot protocol,
 * Documentation/arch/x86/boot.rst; version 2.12 or newer). On failure *ret_error is a sentence for
 * a person, owned by the caller. Errors: of open() and read(), -ENOEXEC not such a kernel, -E2BIG
 * the command line is too long, -ENOSPC the memory is too small.
 */
int vmm_boot_linux(struct vmm_mem *mem, const struct vmm_boot *boot,
	struct vmm_boot_entry *ret_entry, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

#endif
