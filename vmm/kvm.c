/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/log.h"
#include "vmm/mem.h"

#define NR_PINS 24
#define NR_PIC_PINS 8
#define MAX_MSI 3072

/* three pages that Intel's CPUs without unrestricted guest want, above all that the guest has */
#define IDENTITY_MAP_ADDR 0xfffbc000ull
#define TSS_ADDR 0xfffbd000ul

struct vmm_kvm {
	int dev_fd, fd;
	unsigned int nr_fixed;
	bool msi_used[MAX_MSI];
	struct kvm_irq_routing *routing; /* the fixed ones, then the MSIs */
};

int vmm_kvm_dev_fd(const struct vmm_kvm *kvm)
{
	return kvm->dev_fd;
}

int vmm_kvm_fd(const struct vmm_kvm *kvm)
{
	return kvm->fd;
}

#define CPUID_1_ECX_VMX (1u << 5)
#define CPUID_80000001_ECX_SVM (1u << 2)

/* There are KVMs without either (PVM): a kernel that was not made for them seems to hang there. */
static bool has_vmx_or_svm(void)
{
	unsigned int eax, ebx, ecx = 0, edx;
	bool vmx = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & CPUID_1_ECX_VMX);

	return vmx ||
	       (__get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) && (ecx & CPUID_80000001_ECX_SVM));
}

static int open_dev(struct vmm_kvm *kvm, char **ret_error)
{
	static const int needed[] = { KVM_CAP_IRQCHIP, KVM_CAP_IRQFD, KVM_CAP_IOEVENTFD,
		KVM_CAP_IOEVENTFD_ANY_LENGTH, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_PIT2,
		KVM_CAP_SIGNAL_MSI, KVM_CAP_EXT_CPUID };
	int err;

	kvm->dev_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm->dev_fd < 0) {
		err = -errno;
		if (asprintf(ret_error, "cannot open /dev/kvm: %s; %s", strerror(-err),
			    err == -EACCES ? "the user must be in the group kvm"
					   : "the CPU must have virtualization (VMX, SVM), the "
					     "firmware must "
					     "enable it, and the module kvm_intel or kvm_amd must "
					     "be loaded") < 0)
			*ret_error = NULL;
		return err;
	}
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (ioctl(kvm->dev_fd, KVM_CHECK_EXTENSION, needed[i]) > 0)
			continue;
		if (asprintf(ret_error, "this kernel's KVM is too old: it lacks extension %d",
			    needed[i]) < 0)
			*ret_error = NULL;
		return -ENOTSUP;
	}
	if (!has_vmx_or_svm())
		log_warn("this CPU shows neither VMX nor SVM: most guests will not get past their "
			 "start");
	return 0;
}

static int set_memory(struct vmm_kvm *kvm, struct vmm_mem *mem)
{
	struct vmm_mem_range range;

	for (unsigned int i = 0; vmm_mem_range(mem, i, &range) == 0; i++) {
		struct kvm_userspace_memory_region region = {
			.slot = i,
			.guest_phys_addr = range.guest_addr,
			.memory_size = range.len_bytes,
			.userspace_addr = (uintptr_t)range.host,
		};

		if (ioctl(kvm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
			return -errno;
	}
	return 0;
}

static void add_pin(struct vmm_kvm *kvm, unsigned int gsi, unsigned int chip, unsigned int pin)
{
	kvm->routing->entries[kvm->routing->nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { chip, pin }
	};
}

/* (K1); the timer is at the IOAPIC's pin 2, which the MADT says, and so the cascade's number has
 * none */
static int route_pins(struct vmm_kvm *kvm)
{
	kvm->routing = calloc(1,
		sizeof(*kvm->routing) + (NR_PINS * 2 + MAX_MSI) * sizeof(kvm->routing->entries[0]));
	if (!kvm->routing)
		return -ENOMEM;
	for (unsigned int i = 0; i < NR_PINS; i++) {
		if (i == 2)
			continue;
		if (i < 2 * NR_PIC_PINS)
			add_pin(kvm, i,
				i < NR_PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE,
				i % NR_PIC_PINS);
		add_pin(kvm, i, KVM_IRQCHIP_IOAPIC, i == 0 ? 2 : i);
	}
	kvm->nr_fixed = kvm->routing->nr;
	return ioctl(kvm->fd, KVM_SET_GSI_ROUTING, kvm->routing) < 0 ? -errno : 0;
}

static int set_up(struct vmm_kvm *kvm, struct vmm_mem *mem)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_MAP_ADDR;
	int err;

	kvm->fd = ioctl(kvm->dev_fd, KVM_CREATE_VM, 0);
	if (kvm->fd < 0)
		return -errno;
	if (ioctl(kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
		ioctl(kvm->fd, KVM_SET_TSS_ADDR, TSS_ADDR) < 0 ||
		ioctl(kvm->fd, KVM_CREATE_IRQCHIP, 0) < 0 ||
		ioctl(kvm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return -errno;
	err = route_pins(kvm);
	return err ? err : set_memory(kvm, mem);
}

int vmm_kvm_new(struct vmm_mem *mem, struct vmm_kvm **ret_kvm, char **ret_error)
{
	struct vmm_kvm *kvm = calloc(1, sizeof(*kvm));
	int err;

	*ret_error = NULL;
	if (!kvm)
		return -ENOMEM;
	kvm->dev_fd = kvm->fd = -1;
	err = open_dev(kvm, ret_error);
	if (!err) {
		err = set_up(kvm, mem);
		if (err &&
			asprintf(ret_error, "KVM makes no virtual machine: %s", strerror(-err)) < 0)
			*ret_error = NULL;
	}
	if (err) {
		vmm_kvm_free(kvm);
		return err;
	}
	*ret_kvm = kvm;
	return 0;
}

void vmm_kvm_free(struct vmm_kvm *kvm)
{
	if (!kvm)
		return;
	if (kvm->fd >= 0)
		close(kvm->fd);
	if (kvm->dev_fd >= 0)
		close(kvm->dev_fd);
	free(kvm->routing);
	free(kvm);
}

void vmm_kvm_irq_line(struct vmm_kvm *kvm, unsigned int irq, bool high)
{
	struct kvm_irq_level level = { .irq = irq, .level = high };

	/* it fails for a number that does not exist, only */
	if (ioctl(kvm->fd, KVM_IRQ_LINE, &level) < 0)
		abort();
}

static struct kvm_irq_routing_entry *msi_entry(struct vmm_kvm *kvm, unsigned int gsi)
{
	return &kvm->routing->entries[kvm->nr_fixed + gsi - NR_PINS];
}

int vmm_kvm_msi_new(struct vmm_kvm *kvm, unsigned int *ret_gsi)
{
	unsigned int nth = 0;

	while (nth < MAX_MSI && kvm->msi_used[nth])
		nth++;
	if (nth == MAX_MSI)
		return -ENOSPC;
	kvm->msi_used[nth] = true;
	*ret_gsi = NR_PINS + nth;
	*msi_entry(kvm, *ret_gsi) =
		(struct kvm_irq_routing_entry){ .gsi = *ret_gsi, .type = KVM_IRQ_ROUTING_MSI };
	/* the table ends with the highest number that was ever used */
	kvm->routing->nr = MAX(kvm->routing->nr, kvm->nr_fixed + nth + 1);
	return 0;
}

void vmm_kvm_msi_free(struct vmm_kvm *kvm, unsigned int gsi)
{
	kvm->msi_used[gsi - NR_PINS] = false;
}

int vmm_kvm_msi_route(struct vmm_kvm *kvm, unsigned int gsi, uint64_t addr, uint32_t data)
{
	msi_entry(kvm, gsi)->u.msi = (struct kvm_irq_routing_msi){
		.address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data
	};
	return ioctl(kvm->fd, KVM_SET_GSI_ROUTING, kvm->routing) < 0 ? -errno : 0;
}

int vmm_kvm_irqfd(struct vmm_kvm *kvm, unsigned int gsi, int eventfd, bool on)
{
	struct kvm_irqfd irqfd = {
		.fd = (uint32_t)eventfd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN
	};

	return ioctl(kvm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int vmm_kvm_ioeventfd(struct vmm_kvm *kvm, uint64_t addr, int eventfd, bool on)
{
	struct kvm_ioeventfd event = {
		.addr = addr, .fd = eventfd, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN
	};

	return ioctl(kvm->fd, KVM_IOEVENTFD, &event) < 0 ? -errno : 0;
}
