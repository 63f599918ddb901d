/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a vCPU says of itself: what KVM can do, as one socket of nr_cpus cores without threads. */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <stdint.h>

struct kvm_cpuid2;

/*
 * Rewrites the topology in cpuid (as KVM_GET_SUPPORTED_CPUID gave it) for the vCPU of this APIC id,
 * below nr_cpus. Intel SDM 2A "CPUID", leaves 1, 4, 0bh, 1fh; AMD APM 3, appendix E.
 */
void vmm_cpuid_topology(struct kvm_cpuid2 *cpuid, unsigned int apic_id, unsigned int nr_cpus)
	__attribute__((nonnull));

/* Gives the vCPU its CPUID. Errors: -ENOMEM, of KVM_SET_CPUID2. */
int vmm_cpuid_set(int kvm_dev_fd, int vcpu_fd, unsigned int apic_id, unsigned int nr_cpus)
	__attribute__((warn_unused_result));

#endif
