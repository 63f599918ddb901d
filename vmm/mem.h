/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory. Nothing else in csvvm turns a guest-physical address into a pointer.
 *
 * M1  Each access is checked against the map; what leaves it is refused as a whole.
 * M2  RAM is one memfd. It lies at 0, and what exceeds VMM_MEM_LOW_MAX goes on at 4 GiB: between the
 *     two are the PCI windows and the interrupt controllers.
 * M3  The guest may change its memory at any time. What a decision rests on is copied out first
 *     (vmm_mem_read) and never read twice.
 *
 * Any thread: the map does not change while the machine runs.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stdint.h>
#include <sys/uio.h>

struct vmm_mem;

/* RAM below this lies at its own offset (M2). */
#define VMM_MEM_LOW_MAX 0xc0000000u
#define VMM_MEM_HIGH 0x100000000ull

struct vmm_mem_range {
	uint64_t guest_addr, len_bytes;
	void *host;
};

/* RAM of size_bytes (a multiple of 4 KiB), all zeroes. Errors: -EINVAL, -ENOMEM, -EMFILE. */
int vmm_mem_new(uint64_t size_bytes, struct vmm_mem **ret_mem)
	__attribute__((warn_unused_result, nonnull));

/* Unmaps it. NULL is allowed. */
void vmm_mem_free(struct vmm_mem *mem);

uint64_t vmm_mem_size(const struct vmm_mem *mem);

/* The nth range of the map, for KVM and the boot tables. Errors: -ENOENT, there are fewer. */
int vmm_mem_range(const struct vmm_mem *mem, unsigned int nth, struct vmm_mem_range *ret_range)
	__attribute__((warn_unused_result, nonnull));

/* Where [addr, addr + len) lies. Errors: -EFAULT, not all of it is RAM, or not in one range (M1).
 */
int vmm_mem_ptr(const struct vmm_mem *mem, uint64_t addr, uint64_t len_bytes, void **ret_ptr)
	__attribute__((warn_unused_result, nonnull));

/* Copies out of and into the guest. Errors: -EFAULT (M1). */
int vmm_mem_read(const struct vmm_mem *mem, uint64_t addr, void *buf, uint64_t len_bytes)
	__attribute__((warn_unused_result, nonnull));
int vmm_mem_write(const struct vmm_mem *mem, uint64_t addr, const void *buf, uint64_t len_bytes)
	__attribute__((warn_unused_result, nonnull));

/*
 * Gives memory back to the host; the guest may go on using it, and finds zeroes. [addr, addr + len) is
 * whole pages; of iov, which vmm_mem_ptr() gave, it is the pages that lie within. May block for a
 * moment. Errors: -EFAULT (M1), -EINVAL, no whole pages. That the host does not take it is no error.
 */
int vmm_mem_give_up(const struct vmm_mem *mem, uint64_t addr, uint64_t len_bytes)
	__attribute__((warn_unused_result, nonnull));
void vmm_mem_give_up_iov(const struct vmm_mem *mem, const struct iovec *iov) __attribute__((nonnull));

#endif
