/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm in pieces: csvadm.c (commands), csvadm_args.c (command line), csvadm_conn.c (sockets and
 * volumes), csvadm_text.c (members and units), csvadm_status.c (what is), csvadm_move.c, csvadm_io.c
 * (what goes on), csvadm_check.c, csvadm_grow.c, csvadm_image.c (files on a mount), csvadm_convert.c
 * (disk images), csvadm_quota.c.
 *
 * A1  Nothing here waits for ever: sockets have a deadline, the mount point is only touched by a
 *     child process that is killed when it hangs.
 * A2  Every text that came from a disk or a peer is printed without its control characters.
 * A3  Each failure says the next step, and ends with the exit code of its kind.
 */
#ifndef TOOLS_CSVADM_H
#define TOOLS_CSVADM_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum adm_exit {
	ADM_OK = 0,
	ADM_FAILED = 1,	   /* refused or failed by the volume */
	ADM_USAGE = 2,
	ADM_NO_VOLUME = 3, /* none is mounted, or not that one */
	ADM_DENIED = 4,
	ADM_NO_ANSWER = 5,
};

struct adm {
	const char *control;	/* folder of the sockets */
	const char *volume;	/* mount point, label, UUID or device; NULL: the only one */
	const char *node;	/* coordinator move: number or name; NULL: any */
	const char *file, *new_file; /* image, quota: paths; create: new_file is the size */
	const char *format;	/* image convert, create; NULL: by the name */
	bool fixed, dynamic, force;
	bool json;
	double timeout_s;	/* for one answer */
	double wait_s;		/* coordinator move: for the whole of it */
	double interval_s;
	double rate_mb;		/* check */
	bool limit_given, files_given; /* quota set */
	uint64_t limit_bytes, limit_files;
	uint32_t project;	/* 0 = not given */
	uint64_t size_bytes;	/* grow; 0 = all of the device */
	uint64_t count;		/* io: lines; 0 = without end */
};

enum adm_state { ADM_SERVES, ADM_HUNG, ADM_DEAD, ADM_FORBIDDEN, ADM_GONE };

/* A socket that was found, and what is behind it. */
struct adm_vol {
	char path[512];
	char uuid[64];	/* from the socket's name */
	pid_t pid;	/* of the mount process; 0 = unknown */
	enum adm_state state;
	struct json_object *status; /* ADM_SERVES only */
};

/* ---- csvadm_conn.c ---- */

/* Prints "csvadm: ..." on standard error and returns code. */
int adm_fail(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sends one request to the socket and waits for its answer. 0, -EACCES, -ENOENT, -ECONNREFUSED,
 * -ETIMEDOUT, -EPROTO ... *ret_pid is set as soon as it is known. The caller puts *ret. */
int adm_ask(const char *path, const char *request, double timeout_s, pid_t *ret_pid,
	struct json_object **ret) __attribute__((warn_unused_result));

/* Every volume that is mounted here, with its status, by mount point. An exit code; the caller
 * frees with adm_vols_free(), also after a failure. */
int adm_vols(const struct adm *adm, struct adm_vol **ret_vols, size_t *ret_nr);
void adm_vols_free(struct adm_vol *vols, size_t nr);

/* The volume that adm names, or the only one; it serves. An exit code, everything printed. */
int adm_pick(const struct adm *adm, struct adm_vol *ret_vol);
/* Asks vol for something, and its status anew when request is NULL; prints what went wrong. An exit
 * code. */
int adm_request(const struct adm *adm, struct adm_vol *vol, const char *request,
	struct json_object **ret);
void adm_vol_done(struct adm_vol *vol);
/* Says what is wrong with a volume that does not serve. Its exit code. */
int adm_vol_complain(const struct adm *adm, const struct adm_vol *vol);

/* Says that none is mounted. ADM_NO_VOLUME. */
int adm_no_volume(const struct adm *adm);

/* ---- csvadm_text.c ---- */

/* Members of nested objects, by a path such as "coordinator/node"; 0, "" or false if missing. */
uint64_t adm_u64(struct json_object *o, const char *path);
bool adm_bool(struct json_object *o, const char *path);
/* Static storage for eight calls; control characters are replaced (A2). */
const char *adm_str(struct json_object *o, const char *path);
struct json_object *adm_get(struct json_object *o, const char *path);

/* One JSON object on a line. */
void adm_print_json(struct json_object *o);
/* "n2 (node 2)", from the members in status; static storage for four calls. */
const char *adm_node_name(struct json_object *status, uint64_t node);
/* "240 ms", "3.2 s", "14 min", "3 days"; static storage for four calls. */
const char *adm_span(uint64_t ms);

/* ---- commands: an exit code each ---- */
int adm_status(const struct adm *adm);
int adm_volume_list(const struct adm *adm);
int adm_volume_info(const struct adm *adm);
int adm_node_list(const struct adm *adm);
int adm_coordinator_show(const struct adm *adm);
int adm_coordinator_move(const struct adm *adm);
int adm_io(const struct adm *adm);
int adm_log(const struct adm *adm);
int adm_check(const struct adm *adm);
int adm_grow(const struct adm *adm);
int adm_image_clone(const struct adm *adm);
int adm_image_info(const struct adm *adm);
int adm_image_map(const struct adm *adm);
int adm_image_convert(const struct adm *adm);
int adm_image_create(const struct adm *adm);
int adm_quota_set(const struct adm *adm);
int adm_quota_show(const struct adm *adm);
int adm_quota_list(const struct adm *adm);
int adm_quota_clear(const struct adm *adm);

/* Which image is in a file, and what is known of it. An exit code, everything printed. */
struct image_info;
int adm_image_describe(const char *path, struct image_info *ret_info);

#endif
