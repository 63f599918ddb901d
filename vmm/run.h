/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine from `csvvm run` to its end: its process, its terminal, its lives between reboots. */
#ifndef VMM_RUN_H
#define VMM_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/control.h"
#include "vmm/options.h"

struct vmm_console;

/* Exit codes of `csvvm run`; of the other commands see client.h. */
enum vmm_exit_run {
	VMM_EXIT_OFF = 0, /* the guest powered off */
	VMM_EXIT_DIED = 1,
	VMM_EXIT_USAGE = 2,
	VMM_EXIT_NOT_MADE = 3,
	VMM_EXIT_KILLED = 4,
};

/* What commands.c works with; all of it is the main thread's. */
struct vmm_run {
	struct vmm_options *options;
	char name[VMM_NAME_MAX + 1];
	struct loop *loop;
	struct vmm_machine *machine; /* always there while the loop runs */
	struct vmm_console *console;
	struct vmm_control *control;
	uint64_t since_ns; /* CLOCK_REALTIME of the start */
	unsigned int nr_resets;
	char paused[400]; /* why it is; "" = it runs */
	bool escape, button_pressed;
	int ready_fd; /* a daemon's pipe to who started it, or -1 */
};

/* The commands of the control socket, with the struct vmm_run as their arg; ends with a NULL. */
extern const struct vmm_command vmm_commands[];

/* {"event": name, "time": ...}, to which the caller adds more. */
struct json_object *vmm_event_new(const char *name) __attribute__((warn_unused_result, nonnull));

/* Pauses it and says why to who listens; lets it go on. */
void vmm_run_pause(struct vmm_run *run, const char *reason) __attribute__((nonnull));
void vmm_run_resume(struct vmm_run *run) __attribute__((nonnull));

/* Gives it the disk, which gets an id if it has none, in this life and those after a reboot; says so to who
 * listens. Errors: those of vmm_disks_attach(). */
int vmm_run_attach_disk(struct vmm_run *run, struct vmm_disk_conf *disk, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Runs it to the end, here or as a daemon; what is wrong is printed. The exit code. */
int vmm_run(struct vmm_options *options) __attribute__((nonnull));

#endif
