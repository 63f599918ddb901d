/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The serial console: what the guest wrote lately, and who reads and types. Each of them has a place
 * of its own in what was written; who falls behind by more than is kept loses the oldest.
 *
 * Main thread, but vmm_console_put().
 */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct vmm_console;
struct vmm_machine;

#define VMM_SCROLLBACK (128u << 10) /* bytes */

int vmm_console_new(struct loop *loop, struct vmm_console **ret_console)
	__attribute__((warn_unused_result, nonnull));

/* Sends what waits as far as that goes at once, and closes all. NULL is allowed. */
void vmm_console_free(struct vmm_console *console);

/* Where typed bytes go from now on; NULL: nowhere, and what is typed is lost. */
void vmm_console_set_machine(struct vmm_console *console, struct vmm_machine *machine)
	__attribute__((nonnull(1)));

/* The guest wrote a byte; any thread, never blocks. */
void vmm_console_put(struct vmm_console *console, uint8_t byte) __attribute__((nonnull));

/* Attaches a socket, which is the console's from now on: first the scrollback, then all that comes;
 * bytes have been typed there already. Errors: -ENOMEM, and it is closed. */
int vmm_console_attach(struct vmm_console *console, int fd, const void *bytes, size_t len_bytes)
	__attribute__((nonnull(1)));

/* What comes from fd (the caller's) is typed, too, but where filter says no. */
int vmm_console_input(struct vmm_console *console, int fd, bool (*filter)(void *arg, uint8_t byte),
	void *arg) __attribute__((warn_unused_result, nonnull(1, 3)));

#endif
