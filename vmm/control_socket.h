/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where control sockets are, how they are made and found (C2, control.h). */
#ifndef VMM_CONTROL_SOCKET_H
#define VMM_CONTROL_SOCKET_H

#include <stddef.h>

struct vmm_socket;

/* The folder of them: /run/csvvm for root, else $XDG_RUNTIME_DIR/csvvm. Errors: -ENOENT, there is no
 * such variable; -ENAMETOOLONG. */
int vmm_socket_dir(char *buf, size_t room_bytes) __attribute__((warn_unused_result, nonnull));

/*
 * Makes the folder (0700) if it is not there, and listens on DIR/NAME.sock. Not while other threads
 * make files. On failure *ret_error is a sentence for a person, the caller's. Errors: -EEXIST a
 * machine of this name runs, -EPERM others may write into the folder, -ENAMETOOLONG, of mkdir() and
 * bind().
 */
int vmm_socket_new(const char *dir, const char *name, struct vmm_socket **ret_socket,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

int vmm_socket_fd(const struct vmm_socket *sock) __attribute__((nonnull));

/* Removes and closes it. */
void vmm_socket_free(struct vmm_socket *sock) __attribute__((nonnull));

/* Connects; the descriptor, which blocks. Errors: -ECONNREFUSED what made it has died, -ENOENT,
 * -EACCES, -EAGAIN it is too busy to take a connection. */
int vmm_socket_connect(const char *dir, const char *name)
	__attribute__((warn_unused_result, nonnull));

/* Removes what a machine left that has died. Errors: -EEXIST, it runs; -ENOENT. */
int vmm_socket_remove_stale(const char *dir, const char *name)
	__attribute__((warn_unused_result, nonnull));

#endif
