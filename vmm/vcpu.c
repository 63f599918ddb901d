/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/boot.h"
#include "vmm/cpuid.h"
#include "vmm/kvm.h"

#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_ET (1u << 4)
#define CR0_NE (1u << 5)
#define CR0_PG (1u << 31)
#define CR4_PAE (1u << 5)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0x806

struct vmm_vcpu {
	int fd;
	unsigned int id;
	size_t run_bytes;
	struct kvm_run *run;
	const struct vmm_vcpu_ops *ops;
	void *arg;
	bool started;
	atomic_bool stop, pause;
	pthread_t thread;
	pthread_mutex_t mutex; /* taken last of all: */
	pthread_cond_t cond;
	bool parked; /* not in KVM_RUN, nor in ops */
};

/* Interrupts KVM_RUN by being there; what it means stands in vcpu->stop and pause. */
static void on_kick(int sig)
{
}

static int kick_signal(void)
{
	return SIGRTMIN;
}

static int map_run(struct vmm_vcpu *vcpu, struct vmm_kvm *kvm)
{
	int bytes = ioctl(vmm_kvm_dev_fd(kvm), KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	if (bytes < (int)sizeof(*vcpu->run))
		return -EINVAL;
	run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	vcpu->run = run;
	vcpu->run_bytes = (size_t)bytes;
	return 0;
}

/* Without firmware nobody else says that memory is to be cached. */
static int set_msrs(struct vmm_vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1 };

	msrs.entry.index = MSR_MTRR_DEF_TYPE;
	msrs.entry.data = MTRR_ENABLED_WRITE_BACK;
	return ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) == 1 ? 0 : -EINVAL;
}

int vmm_vcpu_new(struct vmm_kvm *kvm, unsigned int id, unsigned int nr_cpus,
	const struct vmm_vcpu_ops *ops, void *arg, struct vmm_vcpu **ret_vcpu)
{
	struct vmm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	int err;

	if (!vcpu)
		return -ENOMEM;
	vcpu->id = id;
	vcpu->ops = ops;
	vcpu->arg = arg;
	pthread_mutex_init(&vcpu->mutex, NULL);
	pthread_cond_init(&vcpu->cond, NULL);
	vcpu->fd = ioctl(vmm_kvm_fd(kvm), KVM_CREATE_VCPU, id);
	err = vcpu->fd < 0 ? -errno : map_run(vcpu, kvm);
	if (!err)
		err = vmm_cpuid_set(vmm_kvm_dev_fd(kvm), vcpu->fd, id, nr_cpus);
	if (!err)
		err = set_msrs(vcpu);
	if (err) {
		vmm_vcpu_free(vcpu);
		return err;
	}
	*ret_vcpu = vcpu;
	return 0;
}

int vmm_vcpu_boot(struct vmm_vcpu *vcpu, const struct vmm_boot_entry *entry)
{
	bool is_long = entry->page_table != 0;
	struct kvm_segment code = { .limit = 0xffffffff,
		.selector = 0x10,
		.type = 0x0b,
		.present = 1,
		.s = 1,
		.l = is_long,
		.db = !is_long,
		.g = 1 };
	struct kvm_segment data = { .limit = 0xffffffff,
		.selector = 0x18,
		.type = 0x03,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1 };
	struct kvm_regs regs = {
		.rip = entry->rip, .rbx = entry->rbx, .rsi = entry->rsi, .rflags = 2
	};
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = CR0_PE | CR0_ET;
	if (is_long) {
		sregs.cr0 |= CR0_MP | CR0_NE | CR0_PG;
		sregs.cr3 = entry->page_table;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

static void handle_io(struct vmm_vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)vcpu->run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++)
		vcpu->ops->pio(vcpu->arg, run->io.port, run->io.direction == KVM_EXIT_IO_OUT,
			data + i * run->io.size, run->io.size);
}

/* True if it goes on. */
static bool handle_exit(struct vmm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		vcpu->ops->mmio(vcpu->arg, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data,
			run->mmio.len);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return true;
	case KVM_EXIT_SHUTDOWN:
		vcpu->ops->dead(vcpu->arg, NULL);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		vcpu->ops->dead(vcpu->arg, "KVM could not emulate an instruction");
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		vcpu->ops->dead(vcpu->arg, "the CPU refuses the guest's state");
		return false;
	default:
		vcpu->ops->dead(vcpu->arg, "KVM gave an exit that csvvm does not know");
		return false;
	}
}

/* Waits as long as it is paused. */
static void park(struct vmm_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->mutex);
	vcpu->parked = true;
	pthread_cond_broadcast(&vcpu->cond);
	while (atomic_load(&vcpu->pause) && !atomic_load(&vcpu->stop))
		pthread_cond_wait(&vcpu->cond, &vcpu->mutex);
	vcpu->parked = false;
	pthread_mutex_unlock(&vcpu->mutex);
	/* the guest's watchdogs forgive it then; those that know no kvmclock need not */
	(void)ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}

static void *run_thread(void *arg)
{
	struct vmm_vcpu *vcpu = arg;

	while (!atomic_load(&vcpu->stop)) {
		if (atomic_load(&vcpu->pause)) {
			park(vcpu);
			continue;
		}
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			/* EAGAIN: an AP got its INIT */
			if (errno == EINTR || errno == EAGAIN)
				continue;
			vcpu->ops->dead(vcpu->arg, "KVM_RUN failed");
			break;
		}
		if (!handle_exit(vcpu))
			break;
	}
	pthread_mutex_lock(&vcpu->mutex);
	vcpu->parked = true;
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->mutex);
	return NULL;
}

int vmm_vcpu_start(struct vmm_vcpu *vcpu)
{
	struct sigaction act = { .sa_handler = on_kick };
	sigset_t all, old;
	int err;

	sigaction(kick_signal(), &act, NULL);
	/* the main thread alone hears of all other signals */
	sigfillset(&all);
	sigdelset(&all, kick_signal());
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&vcpu->thread, NULL, run_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	vcpu->started = err == 0;
	return -err;
}

/* Out of KVM_RUN, to look at what was set before. */
static void kick(struct vmm_vcpu *vcpu)
{
	/* a signal that comes just before KVM_RUN is lost; this is not */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->started)
		pthread_kill(vcpu->thread, kick_signal());
}

void vmm_vcpu_pause(struct vmm_vcpu *vcpu)
{
	atomic_store(&vcpu->pause, true);
	kick(vcpu);
}

void vmm_vcpu_wait(struct vmm_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->mutex);
	while (vcpu->started && !vcpu->parked)
		pthread_cond_wait(&vcpu->cond, &vcpu->mutex);
	pthread_mutex_unlock(&vcpu->mutex);
}

void vmm_vcpu_resume(struct vmm_vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->mutex);
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	atomic_store(&vcpu->pause, false);
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->mutex);
}

void vmm_vcpu_stop(struct vmm_vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_mutex_lock(&vcpu->mutex);
	atomic_store(&vcpu->stop, true);
	pthread_cond_broadcast(&vcpu->cond);
	pthread_mutex_unlock(&vcpu->mutex);
	kick(vcpu);
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}

void vmm_vcpu_free(struct vmm_vcpu *vcpu)
{
	if (!vcpu)
		return;
	if (vcpu->run)
		munmap(vcpu->run, vcpu->run_bytes);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	pthread_cond_destroy(&vcpu->cond);
	pthread_mutex_destroy(&vcpu->mutex);
	free(vcpu);
}
