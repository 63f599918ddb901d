/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/machine.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/err.h"
#include "util/list.h"
#include "util/loop.h"
#include "vmm/acpi.h"
#include "vmm/bus.h"
#include "vmm/disks.h"
#include "vmm/iothread.h"
#include "vmm/kvm.h"
#include "vmm/layout.h"
#include "vmm/mem.h"
#include "vmm/passt.h"
#include "vmm/pci.h"
#include "vmm/pm.h"
#include "vmm/rtc.h"
#include "vmm/serial.h"
#include "vmm/tap.h"
#include "vmm/vcpu.h"
#include "vmm/virtio_balloon.h"
#include "vmm/virtio_net.h"
#include "vmm/virtio_rng.h"

#define DEFAULT_MAX_QUEUES 4

struct vmm_machine {
	const struct vmm_conf *conf;
	struct loop *loop;
	struct vmm_mem *mem;
	struct vmm_kvm *kvm;
	bool paused; /* main thread; so are */
	struct ev_io rtc_due;
	struct vmm_disks *disks;
	struct {
		pthread_mutex_t mutex; /* taken last of all, by I/O threads, too */
		struct loop_work work;
		bool posted;
		struct vmm_disk_failure last;
	} failure;
	pthread_mutex_t mutex; /* (V1): of all that follows */
	enum vmm_end end;
	const char *why;
	struct vmm_bus ports, mmio;
	struct vmm_serial com1;
	struct vmm_pm pm;
	struct vmm_rtc rtc;
	int rtc_fd; /* its timer */
	struct vmm_pci pci;
	struct vmm_vcpu *vcpus[VMM_MAX_CPUS];
	unsigned int nr_nets;
	struct vmm_link taps[VMM_MAX_NETS]; /* of those that are on one */
	struct vmm_virtio_net *nets[VMM_MAX_NETS];
	struct vmm_iothread *helper; /* of the devices that have little to do */
	struct vmm_virtio_rng *rng;
	struct vmm_virtio_balloon *balloon;
};

/* With the mutex held (V3). */
static void end(struct vmm_machine *machine, enum vmm_end how, const char *why)
{
	if (machine->end != VMM_RUNS)
		return;
	machine->end = how;
	machine->why = why;
	loop_stop(machine->loop);
}

/* ---- what the parts call ---- */

static void com1_tx(void *arg, uint8_t byte)
{
	struct vmm_machine *machine = arg;

	machine->conf->console(machine->conf->arg, byte);
}

static void com1_irq(void *arg, bool high)
{
	vmm_kvm_irq_line(((struct vmm_machine *)arg)->kvm, VMM_IRQ_COM1, high);
}

static const struct vmm_serial_ops com1_ops = { .tx = com1_tx, .irq = com1_irq };

static uint64_t com1_read(void *arg, uint64_t off_bytes, unsigned int len_bytes)
{
	return vmm_serial_in(arg, (unsigned int)off_bytes);
}

static void com1_write(void *arg, uint64_t off_bytes, unsigned int len_bytes, uint64_t value)
{
	vmm_serial_out(arg, (unsigned int)off_bytes, (uint8_t)value);
}

static const struct vmm_bus_ops com1_bus_ops = { .read = com1_read, .write = com1_write };

static void pm_irq(void *arg, bool high)
{
	vmm_kvm_irq_line(((struct vmm_machine *)arg)->kvm, VMM_IRQ_SCI, high);
}

static void pm_power_off(void *arg)
{
	end(arg, VMM_POWERED_OFF, NULL);
}

static void pm_reset(void *arg)
{
	end(arg, VMM_RESET, NULL);
}

static const struct vmm_pm_ops pm_ops = {
	.irq = pm_irq,
	.power_off = pm_power_off,
	.reset = pm_reset,
};

static uint64_t rtc_now(void *arg)
{
	return clock_real_ns();
}

static void rtc_wake_at(void *arg, uint64_t at_ns)
{
	struct itimerspec at = { .it_value = { (time_t)(at_ns / 1000000000),
					 (long)(at_ns % 1000000000) } };

	(void)timerfd_settime(((struct vmm_machine *)arg)->rtc_fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void rtc_irq(void *arg, bool high)
{
	vmm_kvm_irq_line(((struct vmm_machine *)arg)->kvm, VMM_IRQ_RTC, high);
}

static const struct vmm_rtc_ops rtc_ops = {
	.now_ns = rtc_now, .wake_at = rtc_wake_at, .irq = rtc_irq
};

static void on_rtc_due(struct ev_loop *ev, struct ev_io *watcher, int revents)
{
	struct vmm_machine *machine = container_of(watcher, struct vmm_machine, rtc_due);
	uint64_t nr;

	if (read(machine->rtc_fd, &nr, sizeof(nr)) < 0)
		return; /* it was put off meanwhile */
	pthread_mutex_lock(&machine->mutex);
	vmm_rtc_tick(&machine->rtc);
	pthread_mutex_unlock(&machine->mutex);
}

static void access_bus(struct vmm_machine *machine, struct vmm_bus *bus, uint64_t addr, bool write,
	void *data, unsigned int len_bytes)
{
	uint64_t value = 0;

	pthread_mutex_lock(&machine->mutex);
	if (write) {
		memcpy(&value, data, len_bytes);
		vmm_bus_write(bus, addr, len_bytes, value);
	} else {
		value = vmm_bus_read(bus, addr, len_bytes);
		memcpy(data, &value, len_bytes);
	}
	pthread_mutex_unlock(&machine->mutex);
}

static void vcpu_pio(void *arg, uint16_t port, bool write, void *data, unsigned int len_bytes)
{
	struct vmm_machine *machine = arg;

	access_bus(machine, &machine->ports, port, write, data, len_bytes);
}

static void vcpu_mmio(void *arg, uint64_t addr, bool write, void *data, unsigned int len_bytes)
{
	struct vmm_machine *machine = arg;

	access_bus(machine, &machine->mmio, addr, write, data, len_bytes);
}

static void vcpu_dead(void *arg, const char *why)
{
	struct vmm_machine *machine = arg;

	pthread_mutex_lock(&machine->mutex);
	/* a triple fault is how a guest resets that knows no better way */
	end(machine, why ? VMM_DIED : VMM_RESET, why);
	pthread_mutex_unlock(&machine->mutex);
}

static const struct vmm_vcpu_ops vcpu_ops = {
	.pio = vcpu_pio,
	.mmio = vcpu_mmio,
	.dead = vcpu_dead,
};

/* On a disk's thread, which holds the request (V5). */
static void disk_failed(void *arg, const struct vmm_disk_failure *failure)
{
	struct vmm_machine *machine = arg;

	pthread_mutex_lock(&machine->failure.mutex);
	machine->failure.last = *failure;
	if (!machine->failure.posted)
		loop_post(machine->loop, &machine->failure.work);
	machine->failure.posted = true;
	pthread_mutex_unlock(&machine->failure.mutex);
}

static void on_disk_failed(struct loop_work *work)
{
	struct vmm_machine *machine = container_of(work, struct vmm_machine, failure.work);
	struct vmm_disk_failure failure;

	pthread_mutex_lock(&machine->failure.mutex);
	machine->failure.posted = false;
	failure = machine->failure.last;
	pthread_mutex_unlock(&machine->failure.mutex);
	vmm_machine_pause(machine);
	machine->conf->disk_failed(machine->conf->arg, &failure);
}

/* ---- putting it together ---- */

static int fail(char **ret_error, int err, const char *what)
{
	if (!*ret_error && asprintf(ret_error, "%s: %s", what, err_str(err)) < 0)
		*ret_error = NULL;
	return err;
}

static int make_rtc(struct vmm_machine *machine)
{
	machine->rtc_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (machine->rtc_fd < 0)
		return -errno;
	ev_io_init(&machine->rtc_due, on_rtc_due, machine->rtc_fd, EV_READ);
	ev_io_start(loop_ev(machine->loop), &machine->rtc_due);
	return vmm_rtc_init(&machine->rtc, &machine->ports, &rtc_ops, machine);
}

static int make_board(struct vmm_machine *machine)
{
	int err = vmm_bus_map(&machine->ports, VMM_PORT_COM1, 8, &com1_bus_ops, &machine->com1);

	vmm_serial_init(&machine->com1, &com1_ops, machine);
	if (!err)
		err = vmm_pm_init(&machine->pm, &machine->ports, &pm_ops, machine);
	if (!err)
		err = make_rtc(machine);
	if (!err)
		err = vmm_pci_init(&machine->pci, machine->kvm, &machine->ports, &machine->mmio);
	return err ? err : vmm_acpi_write(machine->mem, machine->conf->nr_cpus);
}

static void disk_gone(void *arg, const char *id, int err)
{
	const struct vmm_conf *conf = ((struct vmm_machine *)arg)->conf;

	conf->disk_gone(conf->arg, id, err);
}

static void disk_resized(void *arg, const char *id, int err, uint64_t size_bytes)
{
	const struct vmm_conf *conf = ((struct vmm_machine *)arg)->conf;

	conf->disk_resized(conf->arg, id, err, size_bytes);
}

static int make_disks(struct vmm_machine *machine, char **ret_error)
{
	const struct vmm_conf *conf = machine->conf;
	struct vmm_disks_conf disks = { .loop = machine->loop,
		.mutex = &machine->mutex,
		.mem = machine->mem,
		.pci = &machine->pci,
		.nr_queues = MIN(conf->nr_cpus, DEFAULT_MAX_QUEUES),
		.failed = disk_failed,
		.gone = disk_gone,
		.resized = disk_resized,
		.arg = machine };
	int err = vmm_disks_new(&disks, &machine->disks);

	if (err)
		return fail(ret_error, err, "the SCSI controller");
	for (unsigned int i = 0; !err && i < conf->nr_disks; i++)
		err = vmm_disks_attach(machine->disks, &conf->disks[i], false, ret_error);
	return err;
}

static int add_net(struct vmm_machine *machine, const struct vmm_net_conf *conf, char **ret_error)
{
	unsigned int nth = machine->nr_nets;
	const char *name = conf->tap ? conf->tap : "the network's descriptor";
	struct vmm_link *link = &machine->taps[nth];
	int err = 0;

	if (conf->user)
		link = &conf->passt->link;
	else
		err = vmm_tap_open(link, conf->tap, conf->fd, conf->nr_queues);
	if (err)
		return fail(ret_error, err, name);
	machine->nr_nets++;
	err = vmm_virtio_net_new(link, conf->mac, machine->mem, &machine->pci, &machine->nets[nth]);
	return err ? fail(ret_error, err, name) : 0;
}

static int add_helpers(struct vmm_machine *machine, char **ret_error)
{
	int err = vmm_iothread_new(&machine->helper);

	if (!err)
		err = vmm_virtio_rng_new(
			machine->mem, &machine->pci, machine->helper, &machine->rng);
	if (!err)
		err = vmm_virtio_balloon_new(
			machine->mem, &machine->pci, machine->helper, &machine->balloon);
	return err ? fail(ret_error, err, "random numbers and balloon") : 0;
}

static int make_cpus(struct vmm_machine *machine, const struct vmm_boot_entry *entry)
{
	unsigned int nr = machine->conf->nr_cpus;
	int err = 0;

	for (unsigned int i = 0; !err && i < nr; i++)
		err = vmm_vcpu_new(machine->kvm, i, nr, &vcpu_ops, machine, &machine->vcpus[i]);
	return err ? err : vmm_vcpu_boot(machine->vcpus[0], entry);
}

/* Memory is taken as the guest touches it, so what cannot be is refused before. */
static int make_memory(struct vmm_machine *machine, char **ret_error)
{
	uint64_t bytes = machine->conf->memory_bytes;
	struct sysinfo info;
	int err = -ENOMEM;

	if (sysinfo(&info) < 0 ||
		bytes <= (uint64_t)(info.totalram + info.totalswap) * info.mem_unit)
		err = vmm_mem_new(bytes, &machine->mem);
	if (err && asprintf(ret_error,
			   "there is not enough memory for the guest's %llu MiB (%s); choose a "
			   "smaller --memory",
			   (unsigned long long)bytes >> 20, err_str(err)) < 0)
		*ret_error = NULL;
	return err;
}

static int make(struct vmm_machine *machine, char **ret_error)
{
	const struct vmm_conf *conf = machine->conf;
	struct vmm_boot_entry entry;
	int err;

	err = make_memory(machine, ret_error);
	if (err)
		return err;
	err = vmm_kvm_new(machine->mem, &machine->kvm, ret_error);
	if (err)
		return err;
	err = vmm_boot(machine->mem, &conf->boot, &entry, ret_error);
	if (err)
		return err;
	err = make_board(machine);
	if (err)
		return fail(ret_error, err, "the machine's board");
	err = make_disks(machine, ret_error);
	if (err)
		return err;
	for (unsigned int i = 0; i < conf->nr_nets; i++) {
		err = add_net(machine, &conf->nets[i], ret_error);
		if (err)
			return err;
	}
	err = add_helpers(machine, ret_error);
	if (err)
		return err;
	err = make_cpus(machine, &entry);
	return err ? fail(ret_error, err, "KVM makes no virtual CPU") : 0;
}

int vmm_machine_new(const struct vmm_conf *conf, struct loop *loop,
	struct vmm_machine **ret_machine, char **ret_error)
{
	struct vmm_machine *machine = calloc(1, sizeof(*machine));
	int err;

	*ret_error = NULL;
	if (!machine)
		return -ENOMEM;
	machine->conf = conf;
	machine->loop = loop;
	machine->failure.work.fn = on_disk_failed;
	machine->rtc_fd = -1;
	pthread_mutex_init(&machine->failure.mutex, NULL);
	pthread_mutex_init(&machine->mutex, NULL);
	err = make(machine, ret_error);
	if (err) {
		vmm_machine_free(machine);
		return err;
	}
	*ret_machine = machine;
	return 0;
}

int vmm_machine_start(struct vmm_machine *machine)
{
	int err = 0;

	for (unsigned int i = 0; !err && i < machine->conf->nr_cpus; i++)
		err = vmm_vcpu_start(machine->vcpus[i]);
	return err;
}

void vmm_machine_free(struct vmm_machine *machine)
{
	if (!machine)
		return;
	for (unsigned int i = 0; i < VMM_MAX_CPUS && machine->vcpus[i]; i++)
		vmm_vcpu_stop(machine->vcpus[i]);
	vmm_disks_free(machine->disks);
	for (unsigned int i = 0; i < machine->nr_nets; i++) {
		vmm_virtio_net_free(machine->nets[i]);
		vmm_tap_close(&machine->taps[i]);
	}
	vmm_virtio_balloon_free(machine->balloon);
	vmm_virtio_rng_free(machine->rng);
	vmm_iothread_free(machine->helper);
	(void)loop_cancel(machine->loop, &machine->failure.work);
	if (machine->rtc_fd >= 0) {
		ev_io_stop(loop_ev(machine->loop), &machine->rtc_due);
		close(machine->rtc_fd);
	}
	for (unsigned int i = 0; i < VMM_MAX_CPUS; i++)
		vmm_vcpu_free(machine->vcpus[i]);
	vmm_kvm_free(machine->kvm);
	vmm_mem_free(machine->mem);
	pthread_mutex_destroy(&machine->mutex);
	pthread_mutex_destroy(&machine->failure.mutex);
	free(machine);
}

enum vmm_end vmm_machine_end(struct vmm_machine *machine, const char **ret_why)
{
	enum vmm_end how;

	pthread_mutex_lock(&machine->mutex);
	how = machine->end;
	*ret_why = machine->why;
	pthread_mutex_unlock(&machine->mutex);
	return how;
}

void vmm_machine_power_button(struct vmm_machine *machine)
{
	pthread_mutex_lock(&machine->mutex);
	vmm_pm_power_button(&machine->pm);
	pthread_mutex_unlock(&machine->mutex);
}

void vmm_machine_kill(struct vmm_machine *machine)
{
	pthread_mutex_lock(&machine->mutex);
	end(machine, VMM_KILLED, NULL);
	pthread_mutex_unlock(&machine->mutex);
}

void vmm_machine_pause(struct vmm_machine *machine)
{
	/* without the mutex, which a CPU within an exit may be waiting for */
	for (unsigned int i = 0; !machine->paused && i < machine->conf->nr_cpus; i++)
		vmm_vcpu_pause(machine->vcpus[i]);
	for (unsigned int i = 0; !machine->paused && i < machine->conf->nr_cpus; i++)
		vmm_vcpu_wait(machine->vcpus[i]);
	machine->paused = true;
}

void vmm_machine_resume(struct vmm_machine *machine)
{
	if (!machine->paused)
		return;
	vmm_disks_retry(machine->disks);
	for (unsigned int i = 0; i < machine->conf->nr_cpus; i++)
		vmm_vcpu_resume(machine->vcpus[i]);
	machine->paused = false;
}

struct vmm_disks *vmm_machine_disks(struct vmm_machine *machine)
{
	return machine->disks;
}

uint64_t vmm_machine_given_up(struct vmm_machine *machine)
{
	uint64_t bytes;

	pthread_mutex_lock(&machine->mutex);
	bytes = vmm_virtio_balloon_bytes(machine->balloon);
	pthread_mutex_unlock(&machine->mutex);
	return bytes;
}

void vmm_machine_give_up(struct vmm_machine *machine, uint64_t bytes)
{
	pthread_mutex_lock(&machine->mutex);
	vmm_virtio_balloon_set(machine->balloon, bytes);
	pthread_mutex_unlock(&machine->mutex);
}

size_t vmm_machine_type(struct vmm_machine *machine, const uint8_t *bytes, size_t len_bytes)
{
	size_t done = 0;

	pthread_mutex_lock(&machine->mutex);
	while (done < len_bytes && vmm_serial_rx_room(&machine->com1) > 0)
		vmm_serial_rx(&machine->com1, bytes[done++]);
	pthread_mutex_unlock(&machine->mutex);
	return done;
}
