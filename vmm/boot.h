/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Puts a kernel into the guest's memory, as a boot loader does: a bzImage of Linux by its 64-bit boot
 * protocol (Documentation/arch/x86/boot.rst), or an ELF file with an entry for PVH
 * (https://xenbits.xen.org/docs/unstable/misc/pvh.html), which is how Linux's vmlinux, other systems and small
 * programs without any boot code of their own start.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H

#include <stdint.h>

struct vmm_mem;

struct vmm_boot {
	const char *kernel;  /* a bzImage, or ELF with PVH */
	const char *initrd;  /* or NULL */
	const char *cmdline; /* or NULL */
};

/* Where the first CPU starts: with page_table in 64-bit mode, without (0) in 32-bit mode, no paging. */
struct vmm_boot_entry {
	uint64_t rip, rbx, rsi, page_table;
};

/*
 * Loads what boot names, with the map of memory, parameters and page tables. On failure *ret_error is
 * a sentence for a person, owned by the caller. Errors: of open() and read(), -ENOEXEC not such a
 * kernel, -E2BIG the command line is too long, -ENOSPC the memory is too small.
 */
int vmm_boot(struct vmm_mem *mem, const struct vmm_boot *boot, struct vmm_boot_entry *ret_entry,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

#endif
