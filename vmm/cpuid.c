/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define MAX_ENTRIES 256

#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_HTT (1u << 28)
#define ECX8_CMP_LEGACY (1u << 1) /* leaf 1 counts cores, not threads */
#define EBX0_AMD 0x68747541u	  /* "Auth" */

/* Bits of an APIC id that number the cores. */
static unsigned int core_bits(unsigned int nr_cpus)
{
	unsigned int bits = 0;

	while (1u << bits < nr_cpus)
		bits++;
	return bits;
}

/* Leaves 0bh and 1fh: a level of threads, one a core, then one of cores. */
static void extended_topology(
	struct kvm_cpuid_entry2 *entry, unsigned int apic_id, unsigned int nr_cpus)
{
	entry->eax = entry->ebx = 0;
	entry->ecx = entry->index;
	entry->edx = apic_id;
	if (entry->index == 0) {
		entry->ebx = 1;
		entry->ecx |= 1 << 8;
	} else if (entry->index == 1) {
		entry->eax = core_bits(nr_cpus);
		entry->ebx = nr_cpus;
		entry->ecx |= 2 << 8;
	}
}

/* Leaf 4, and AMD's 8000001dh: level 3 is everyone's, the others are a core's own. */
static void cache(struct kvm_cpuid_entry2 *entry, unsigned int nr_cpus, bool has_cores)
{
	uint32_t ids = (1u << core_bits(nr_cpus)) - 1;
	uint32_t level = entry->eax >> 5 & 7;

	if ((entry->eax & 0x1f) == 0)
		return;
	entry->eax &= 0x3fff;
	if (level == 3)
		entry->eax |= ids << 14;
	if (has_cores)
		entry->eax |= (ids & 0x3f) << 26;
}

static void entry_topology(
	struct kvm_cpuid_entry2 *entry, unsigned int apic_id, unsigned int nr_cpus, bool amd)
{
	switch (entry->function) {
	case 1:
		entry->ebx =
			(entry->ebx & 0xffff) | (1u << core_bits(nr_cpus)) << 16 | apic_id << 24;
		entry->ecx |= ECX1_HYPERVISOR;
		entry->edx = nr_cpus > 1 ? entry->edx | EDX1_HTT : entry->edx & ~EDX1_HTT;
		break;
	case 4:
		cache(entry, nr_cpus, true);
		break;
	case 0x0b:
	case 0x1f:
		extended_topology(entry, apic_id, nr_cpus);
		break;
	case 0x80000001:
		if (amd && nr_cpus > 1)
			entry->ecx |= ECX8_CMP_LEGACY;
		break;
	case 0x80000008:
		entry->ecx = core_bits(nr_cpus) << 12 | (nr_cpus - 1);
		break;
	case 0x8000001d:
		cache(entry, nr_cpus, false);
		break;
	case 0x8000001e:
		entry->eax = apic_id;
		entry->ebx = apic_id & 0xff;
		entry->ecx = 0;
		break;
	}
}

void vmm_cpuid_topology(struct kvm_cpuid2 *cpuid, unsigned int apic_id, unsigned int nr_cpus)
{
	bool amd = false;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		amd = amd || (entry->function == 0 && entry->ebx == EBX0_AMD);
	}
	for (uint32_t i = 0; i < cpuid->nent; i++)
		entry_topology(&cpuid->entries[i], apic_id, nr_cpus, amd);
}

int vmm_cpuid_set(int kvm_dev_fd, int vcpu_fd, unsigned int apic_id, unsigned int nr_cpus)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + MAX_ENTRIES * sizeof(cpuid->entries[0]));
	int err = 0;

	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = MAX_ENTRIES;
	if (ioctl(kvm_dev_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0) {
		err = -errno;
		goto out;
	}
	vmm_cpuid_topology(cpuid, apic_id, nr_cpus);
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == 1 &&
			ioctl(kvm_dev_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			cpuid->entries[i].ecx |= ECX1_TSC_DEADLINE;
	}
	if (ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid) < 0)
		err = -errno;
out:
	free(cpuid);
	return err;
}
