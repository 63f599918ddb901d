/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control socket of a machine, DIR/NAME.sock, mode 0600, and what is spoken on it; README.md
 * has the protocol. One JSON object a line in, one a line out, in order; events in between for who
 * asked for them.
 *
 * C1  All calls and callbacks are on the loop's thread. Nothing a client does or does not do makes
 *     it block: what waits to be sent to a client has a bound, a client that does not read is let go.
 * C2  A name is taken as long as somebody listens. Who makes a socket holds a lock on the folder
 *     while it looks whether the old one answers, so two never take one name.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H

#include <stddef.h>

struct json_object;
struct loop;
struct vmm_control;

#define VMM_PROTOCOL 1
#define VMM_JSON_TEXT (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
#define VMM_LINE_MAX 16384  /* bytes of a request, its newline included */
#define VMM_QUEUE_MAX 262144 /* bytes that wait for a client */

/* What becomes of the connection when a command was carried out. */
enum vmm_then { VMM_THEN_GOES_ON, VMM_THEN_EVENTS, VMM_THEN_CONSOLE };

struct vmm_command {
	const char *name;
	/* result is an empty object to add members to. Negative: *ret_error may be a sentence, which
	 * control frees; else err_str() says it. */
	int (*run)(void *arg, struct json_object *request, struct json_object *result,
		char **ret_error);
	enum vmm_then then;
};

struct vmm_control_conf {
	struct loop *loop;
	const char *dir, *name;
	const struct vmm_command *commands; /* ends with a name of NULL; stays the caller's */
	void *arg;
	/* Takes over a connection (VMM_THEN_CONSOLE), and what its client sent already. */
	void (*console)(void *arg, int fd, const void *bytes, size_t len_bytes);
};

/*
 * Makes the folder (0700) if it is not there, and listens. On failure *ret_error is a sentence for a
 * person, the caller's. Errors: -EEXIST a machine of this name runs, -EPERM the folder is not ours
 * alone, -ENAMETOOLONG, of mkdir() and bind().
 */
int vmm_control_new(const struct vmm_control_conf *conf, struct vmm_control **ret_control,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

/* Sends what waits as far as that goes at once, closes, removes the socket. NULL is allowed. */
void vmm_control_free(struct vmm_control *control);

/* Tells all who listen; event (ours from now on) has the member "event". */
void vmm_control_event(struct vmm_control *control, struct json_object *event)
	__attribute__((nonnull));

#endif
