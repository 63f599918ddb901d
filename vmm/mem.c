/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/checked.h"

#define PAGE 4096u

struct vmm_mem {
	uint64_t size_bytes;
	uint8_t *base;
	int fd;
	unsigned int nr_ranges;
	struct vmm_mem_range ranges[2];
};

int vmm_mem_new(uint64_t size_bytes, struct vmm_mem **ret_mem)
{
	struct vmm_mem *mem;
	uint64_t low = MIN(size_bytes, (uint64_t)VMM_MEM_LOW_MAX);
	int err;

	if (size_bytes == 0 || size_bytes % 4096 != 0 || size_bytes > INT64_MAX)
		return -EINVAL;
	mem = calloc(1, sizeof(*mem));
	if (!mem)
		return -ENOMEM;
	mem->size_bytes = size_bytes;
	mem->fd = memfd_create("guest", MFD_CLOEXEC);
	if (mem->fd < 0 || ftruncate(mem->fd, (off_t)size_bytes) < 0) {
		err = -errno;
		goto out_fd;
	}
	mem->base = mmap(
		NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, mem->fd, 0);
	if (mem->base == MAP_FAILED) {
		err = -errno;
		goto out_fd;
	}
	/* a core file without the guest's secrets */
	madvise(mem->base, size_bytes, MADV_DONTDUMP);
	mem->ranges[mem->nr_ranges++] = (struct vmm_mem_range){ 0, low, mem->base };
	if (size_bytes > low)
		mem->ranges[mem->nr_ranges++] =
			(struct vmm_mem_range){ VMM_MEM_HIGH, size_bytes - low, mem->base + low };
	*ret_mem = mem;
	return 0;
out_fd:
	if (mem->fd >= 0)
		close(mem->fd);
	free(mem);
	return err;
}

void vmm_mem_free(struct vmm_mem *mem)
{
	if (!mem)
		return;
	munmap(mem->base, mem->size_bytes);
	close(mem->fd);
	free(mem);
}

uint64_t vmm_mem_size(const struct vmm_mem *mem)
{
	return mem->size_bytes;
}

int vmm_mem_range(const struct vmm_mem *mem, unsigned int nth, struct vmm_mem_range *ret_range)
{
	if (nth >= mem->nr_ranges)
		return -ENOENT;
	*ret_range = mem->ranges[nth];
	return 0;
}

int vmm_mem_ptr(const struct vmm_mem *mem, uint64_t addr, uint64_t len_bytes, void **ret_ptr)
{
	for (unsigned int i = 0; i < mem->nr_ranges; i++) {
		const struct vmm_mem_range *range = &mem->ranges[i];

		if (addr >= range->guest_addr &&
			range_ok(addr - range->guest_addr, len_bytes, range->len_bytes)) {
			*ret_ptr = (uint8_t *)range->host + (addr - range->guest_addr);
			return 0;
		}
	}
	return -EFAULT;
}

int vmm_mem_read(const struct vmm_mem *mem, uint64_t addr, void *buf, uint64_t len_bytes)
{
	void *ptr;
	int err = vmm_mem_ptr(mem, addr, len_bytes, &ptr);

	if (!err)
		memcpy(buf, ptr, len_bytes);
	return err;
}

int vmm_mem_write(const struct vmm_mem *mem, uint64_t addr, const void *buf, uint64_t len_bytes)
{
	void *ptr;
	int err = vmm_mem_ptr(mem, addr, len_bytes, &ptr);

	if (!err)
		memcpy(ptr, buf, len_bytes);
	return err;
}

void vmm_mem_give_up_iov(const struct vmm_mem *mem, const struct iovec *iov)
{
	uint64_t off = (uint64_t)((uint8_t *)iov->iov_base - (uint8_t *)mem->base),
		 begin = ALIGN_UP(off, (uint64_t)PAGE), end = ALIGN_DOWN(off + iov->iov_len, (uint64_t)PAGE);

	if (begin < end)
		(void)madvise((uint8_t *)mem->base + begin, end - begin, MADV_REMOVE);
}

int vmm_mem_give_up(const struct vmm_mem *mem, uint64_t addr, uint64_t len_bytes)
{
	struct iovec iov = { .iov_len = len_bytes };
	int err = addr % PAGE || len_bytes % PAGE ? -EINVAL
						  : vmm_mem_ptr(mem, addr, len_bytes, &iov.iov_base);

	if (!err)
		vmm_mem_give_up_iov(mem, &iov);
	return err;
}
