/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's half of a virtual machine: RAM, interrupt controllers, eventfds that stand for
 * doorbells and interrupts. kvm.c, vcpu.c and cpuid.c alone know <linux/kvm.h>.
 *
 * K1  Interrupts 0 to 23 are the IOAPIC's pins (0 to 15 the PICs', too); above that each is one
 * MSI, whose address and data may change at any time.
 *
 * Setting up is one thread's; the rest is called with the machine's mutex held (V1), but
 * vmm_kvm_irq_line(), which any thread may call.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H

#include <stdbool.h>
#include <stdint.h>

struct vmm_mem;
struct vmm_kvm;

/*
 * A machine with mem (the caller's, must outlive it) and the in-kernel interrupt controllers and
 * timer. On failure *ret_error is a sentence for a person, owned by the caller.
 * Errors: -ENOENT no /dev/kvm, -EACCES, -ENOTSUP the kernel is too old, -EBUSY, -ENOMEM.
 */
int vmm_kvm_new(struct vmm_mem *mem, struct vmm_kvm **ret_kvm, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Every vCPU is closed by then. NULL is allowed. */
void vmm_kvm_free(struct vmm_kvm *kvm);

/* For vcpu.c and cpuid.c. */
int vmm_kvm_dev_fd(const struct vmm_kvm *kvm);
int vmm_kvm_fd(const struct vmm_kvm *kvm);

/* Sets the level of interrupt 0 to 23. */
void vmm_kvm_irq_line(struct vmm_kvm *kvm, unsigned int irq, bool high) __attribute__((nonnull));

/* A number for one MSI (K1). Errors: -ENOSPC. */
int vmm_kvm_msi_new(struct vmm_kvm *kvm, unsigned int *ret_gsi)
	__attribute__((warn_unused_result, nonnull));

/* The number is free again; its irqfd is off. */
void vmm_kvm_msi_free(struct vmm_kvm *kvm, unsigned int gsi) __attribute__((nonnull));

/* Where the MSI goes from now on. Errors: of KVM_SET_GSI_ROUTING. */
int vmm_kvm_msi_route(struct vmm_kvm *kvm, unsigned int gsi, uint64_t addr, uint32_t data)
	__attribute__((warn_unused_result, nonnull));

/* Each signal of eventfd raises the MSI, what is pending in it at once; or no more, and then
 * signals stay pending in it. */
int vmm_kvm_irqfd(struct vmm_kvm *kvm, unsigned int gsi, int eventfd, bool on)
	__attribute__((warn_unused_result, nonnull));

/* A guest's write of any length at addr signals eventfd and goes nowhere else; or no more. */
int vmm_kvm_ioeventfd(struct vmm_kvm *kvm, uint64_t addr, int eventfd, bool on)
	__attribute__((warn_unused_result, nonnull));

#endif
