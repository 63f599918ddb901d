/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What csvvm is told, on the command line or in a JSON file: one table for both. A key of the file
 * is the long name of an option; "disk" has a list of file names or of objects, whose keys are the
 * words behind a disk's comma and "file".
 */
#ifndef VMM_OPTIONS_H
#define VMM_OPTIONS_H

#include <stdbool.h>

#include "vmm/machine.h"

struct json_object;

#define VMM_NAME_MAX 48

/* Which commands take an option. */
#define VMM_FOR_RUN 1u
#define VMM_FOR_WAIT 2u /* stop, kill, what is done to a disk */
#define VMM_FOR_DETACH 4u
#define VMM_FOR_RESIZE 8u

struct vmm_options {
	struct vmm_conf conf;
	const char *name;	 /* NULL: one is found */
	const char *control_dir; /* NULL: the default */
	const char *command, *operand; /* operand may be NULL */
	char *argument;		       /* behind the operand; likewise */
	bool no_reboot, daemon, json, help, version, force;
	uint64_t size_bytes; /* 0: not given */
	unsigned int wait_s;
	struct json_object *file; /* that the texts above are part of */
};

/* Splits the command line: command, operand, help, version, json. Prints what is wrong; -EINVAL. */
int vmm_options_begin(struct vmm_options *options, int argc, char **argv)
	__attribute__((warn_unused_result, nonnull));

/* Sets the options, of which the command takes those for `takes`, and before them what the file
 * says (NULL: none). The texts stay argv's and the file's. Prints what is wrong; -EINVAL. */
int vmm_options_end(struct vmm_options *options, unsigned int takes, const char *file, int argc,
	char **argv) __attribute__((warn_unused_result, nonnull(1, 5)));

void vmm_options_free(struct vmm_options *options) __attribute__((nonnull));

/* The same for the text of a file; path is for messages. *ret_error is the caller's. */
int vmm_options_json(struct vmm_options *options, const char *path, const char *text,
	char **ret_error) __attribute__((warn_unused_result, nonnull));

/* A disk as --disk has it; cuts text, and keeps it. -EINVAL with *ret_error, the caller's. */
int vmm_options_disk(struct vmm_disk_conf *disk, char *text, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Likewise from JSON: a file name or an object; NULL is JSON's null, and neither. */
int vmm_options_json_disk(struct vmm_disk_conf *disk, struct json_object *json, char **ret_error)
	__attribute__((warn_unused_result, nonnull(1, 3)));

/* Gives each disk that has none a bus, and an id: disk0, disk1 ... by its place, or the next free one. -EINVAL
 * with *ret_error, the caller's: two have the same, or there are too many on a bus. */
int vmm_options_name_disks(struct vmm_conf *conf, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* What a bus is called. */
const char *vmm_bus_name(enum vmm_disk_bus bus);

/* Letters, digits, '.', '_' and '-'; begins with a letter or digit. */
bool vmm_name_ok(const char *name) __attribute__((nonnull));

/* Prints a failure to standard error, and with --json as an object to standard output, too. */
int vmm_fail(const struct vmm_options *options, int code, const char *fmt, ...)
	__attribute__((nonnull, format(printf, 3, 4)));

/* "512M": a number with a suffix of k, M, G, T or none. Errors: -EINVAL, -ERANGE. */
int vmm_parse_size(const char *text, uint64_t *ret_bytes) __attribute__((warn_unused_result, nonnull));

#endif
