/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that speak to a machine's control socket: each prints, and gives an exit code. */
#ifndef VMM_CLIENT_H
#define VMM_CLIENT_H

#include "vmm/options.h"

enum vmm_exit_client {
	VMM_EXIT_DONE = 0,
	VMM_EXIT_REFUSED = 1,
	VMM_EXIT_NO_MACHINE = 3,
	VMM_EXIT_DENIED = 4,
	VMM_EXIT_NO_ANSWER = 5,
};

/* Sends {"cmd": options->command} and prints what comes. */
int vmm_client_simple(const struct vmm_options *options) __attribute__((nonnull));

int vmm_client_list(const struct vmm_options *options) __attribute__((nonnull));
int vmm_client_info(const struct vmm_options *options) __attribute__((nonnull));
int vmm_client_events(const struct vmm_options *options) __attribute__((nonnull));
int vmm_client_console(const struct vmm_options *options) __attribute__((nonnull));

/* stop and kill: waits for the end, at most options->wait_s. */
int vmm_client_end(const struct vmm_options *options) __attribute__((nonnull));

/* attach-disk of what options->argument describes. detach-disk and resize-disk of the disk that it names:
 * wait for the event that says it is done, at most options->wait_s. */
int vmm_client_attach(const struct vmm_options *options) __attribute__((nonnull));
int vmm_client_detach(const struct vmm_options *options) __attribute__((nonnull));
int vmm_client_resize(const struct vmm_options *options) __attribute__((nonnull));

/* balloon: the guest is to keep options->argument of its memory. */
int vmm_client_balloon(const struct vmm_options *options) __attribute__((nonnull));

/*
 * For commands with members: sends request (the caller's) to the machine options->operand and gives
 * its result, which the caller puts. An exit code; what went wrong is printed.
 */
struct json_object;
int vmm_client_ask(const struct vmm_options *options, struct json_object *request,
	struct json_object **ret_result) __attribute__((warn_unused_result, nonnull));

#endif
