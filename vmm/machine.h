/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine: memory, CPUs, buses and devices put together, and who holds what.
 *
 * V1  One mutex holds everything that a guest's slow accesses (ports, MMIO, config spaces) touch. A
 *     vCPU's thread takes it around each such exit, the main thread around what it does.
 * V2  The data path never takes it: doorbells are ioeventfds that wake an I/O thread, interrupts are
 *     irqfds that any thread signals. So whoever holds the mutex may wait for an I/O thread.
 * V3  What ends the machine is decided once; the first reason stands.
 * V4  The CPUs of a paused machine run no guest code, and none of them is within an exit: so it is
 *     when vmm_machine_pause() returns. Devices are not stopped. What the guest had asked of them
 *     ends in its memory, and interrupts wait in the controllers; nothing new begins. Memory is
 *     still only when the devices have drained, too.
 * V5  A request that storage has failed, on a disk that pauses on errors, stays in flight: nobody
 *     tells the guest. Its thread holds it (W2, worker.h) and then tells the main thread, which
 *     pauses the machine. vmm_machine_resume() has each held request submitted again before the
 *     CPUs run; one that fails anew pauses anew.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/boot.h"
#include "vmm/disks.h"

struct loop;
struct vmm_machine;
struct vmm_passt;

#define VMM_MAX_CPUS 64
#define VMM_MAX_NETS 4

#define VMM_NET_PORTS 128

struct vmm_net_conf {
	bool user;	 /* passt, or else */
	const char *tap; /* this device; NULL: the descriptor fd */
	int fd;
	char tcp[VMM_NET_PORTS], udp[VMM_NET_PORTS]; /* of user: of vmm_passt_new(); "" = none */
	struct vmm_passt *passt;		     /* of user: the caller has started it */
	unsigned int nr_queues;
	uint8_t mac[6];
};

struct vmm_conf {
	uint64_t memory_bytes;
	unsigned int nr_cpus;
	struct vmm_boot boot;
	unsigned int nr_disks;
	struct vmm_disk_conf disks[VMM_MAX_DISKS];
	unsigned int nr_nets;
	struct vmm_net_conf nets[VMM_MAX_NETS];
	/* where the serial port's bytes go; on a vCPU's thread, with the mutex held */
	void (*console)(void *arg, uint8_t byte);
	/* storage has failed, and the machine is paused (V5); on the main thread */
	void (*disk_failed)(void *arg, const struct vmm_disk_failure *failure);
	/* of struct vmm_disks_conf; on the main thread */
	void (*disk_gone)(void *arg, const char *id, int err);
	void (*disk_resized)(void *arg, const char *id, int err, uint64_t size_bytes);
	void *arg; /* of all */
};

enum vmm_end { VMM_RUNS, VMM_POWERED_OFF, VMM_RESET, VMM_KILLED, VMM_DIED };

/*
 * Makes it; nothing runs yet. loop is the main thread's, and stopped when the machine ends. conf is
 * the caller's and outlives it. On failure *ret_error is a sentence for a person, owned by the
 * caller, or NULL. Errors: those of the parts.
 */
int vmm_machine_new(const struct vmm_conf *conf, struct loop *loop,
	struct vmm_machine **ret_machine, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Starts the CPUs. Errors: of pthread_create(). */
int vmm_machine_start(struct vmm_machine *machine) __attribute__((warn_unused_result, nonnull));

/* Stops what runs, waits for I/O under way, closes everything. NULL is allowed. */
void vmm_machine_free(struct vmm_machine *machine);

/* The rest from the main thread: */

/* Why it ended, if it did; *ret_why, if it died, is a reason of static storage or NULL. */
enum vmm_end vmm_machine_end(struct vmm_machine *machine, const char **ret_why)
	__attribute__((nonnull));

/* Presses the power button; ends it at once. */
void vmm_machine_power_button(struct vmm_machine *machine) __attribute__((nonnull));
void vmm_machine_kill(struct vmm_machine *machine) __attribute__((nonnull));

/* Pauses it, and lets it go on (V4, V5); neither does anything twice. */
void vmm_machine_pause(struct vmm_machine *machine) __attribute__((nonnull));
void vmm_machine_resume(struct vmm_machine *machine) __attribute__((nonnull));

/* Its disks, to be looked at and changed. */
struct vmm_disks *vmm_machine_disks(struct vmm_machine *machine) __attribute__((nonnull));

/* What the guest is to give up of its memory, and what it says that it has (B1, virtio_balloon.h). */
void vmm_machine_give_up(struct vmm_machine *machine, uint64_t bytes) __attribute__((nonnull));
uint64_t vmm_machine_given_up(struct vmm_machine *machine) __attribute__((nonnull));

/* Gives bytes to the serial port; returns how many it took. */
size_t vmm_machine_type(struct vmm_machine *machine, const uint8_t *bytes, size_t len_bytes)
	__attribute__((nonnull));

#endif
