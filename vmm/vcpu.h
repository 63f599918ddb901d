/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A virtual CPU and the thread that runs it. */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

struct vmm_boot_entry;
struct vmm_kvm;
struct vmm_vcpu;

/* Called on the vCPU's thread, with no lock held. data has len_bytes and is read or filled in. */
struct vmm_vcpu_ops {
	void (*pio)(void *arg, uint16_t port, bool write, void *data, unsigned int len_bytes);
	void (*mmio)(void *arg, uint64_t addr, bool write, void *data, unsigned int len_bytes);
	/* It cannot go on (why: static storage), or shut itself down by a triple fault (why NULL).
	 */
	void (*dead)(void *arg, const char *why);
};

/* APIC id id, below nr_cpus; all but number 0 wait for INIT and SIPI. Nothing runs yet.
 * Errors: of KVM, -ENOMEM. */
int vmm_vcpu_new(struct vmm_kvm *kvm, unsigned int id, unsigned int nr_cpus,
	const struct vmm_vcpu_ops *ops, void *arg, struct vmm_vcpu **ret_vcpu)
	__attribute__((warn_unused_result, nonnull(1, 4, 6)));

/* Makes the first CPU start as entry says. Errors: of KVM. */
int vmm_vcpu_boot(struct vmm_vcpu *vcpu, const struct vmm_boot_entry *entry)
	__attribute__((warn_unused_result, nonnull));

/* Starts the thread. Errors: of pthread_create(). */
int vmm_vcpu_start(struct vmm_vcpu *vcpu) __attribute__((warn_unused_result, nonnull));

/*
 * The thread runs no guest code from when vmm_vcpu_wait() has returned until vmm_vcpu_resume(), nor is
 * it within ops; also one that is started later. Two calls, so that many CPUs stop at once. The caller
 * holds no lock that ops take, and is the one thread that pauses, resumes and stops.
 */
void vmm_vcpu_pause(struct vmm_vcpu *vcpu) __attribute__((nonnull));
void vmm_vcpu_wait(struct vmm_vcpu *vcpu) __attribute__((nonnull));
void vmm_vcpu_resume(struct vmm_vcpu *vcpu) __attribute__((nonnull));

/* Makes the thread end and waits for it; the caller holds no lock that ops take. */
void vmm_vcpu_stop(struct vmm_vcpu *vcpu) __attribute__((nonnull));

/* It is stopped, or was never started. NULL is allowed. */
void vmm_vcpu_free(struct vmm_vcpu *vcpu);

#endif
