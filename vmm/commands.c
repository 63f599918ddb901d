/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of the control socket. A new one is a function, a line in the table, and one in
 * README.md. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "vmm/run.h"

#define ADD(o, name, value) json_object_object_add(o, name, json_object_new_##value)

static int version(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	ADD(result, "protocol", int(VMM_PROTOCOL));
	ADD(result, "version", string(CSVFS_VERSION));
	return 0;
}

static struct json_object *disks_json(const struct vmm_conf *conf)
{
	struct json_object *list = json_object_new_array();

	for (unsigned int i = 0; i < conf->nr_disks; i++) {
		struct json_object *disk = json_object_new_object();

		ADD(disk, "file", string(conf->disks[i].path));
		ADD(disk, "ro", boolean(conf->disks[i].readonly));
		ADD(disk, "on-error",
			string(conf->disks[i].on_error == VMM_ON_ERROR_PAUSE ? "pause" : "report"));
		json_object_array_add(list, disk);
	}
	return list;
}

static int info(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;
	const struct vmm_conf *conf = &run->options->conf;

	ADD(result, "name", string(run->name));
	ADD(result, "pid", int(getpid()));
	ADD(result, "state", string(run->paused[0] ? "paused" : "running"));
	if (run->paused[0])
		ADD(result, "reason", string(run->paused));
	ADD(result, "since_ms", int64((int64_t)(run->since_ns / 1000000)));
	ADD(result, "resets", int64(run->nr_resets));
	ADD(result, "cpus", int64(conf->nr_cpus));
	ADD(result, "memory_bytes", int64((int64_t)conf->memory_bytes));
	ADD(result, "kernel", string(conf->boot.kernel));
	json_object_object_add(result, "disks", disks_json(conf));
	return version(arg, request, result, ret_error);
}

static int refuse(char **ret_error, const char *why)
{
	*ret_error = strdup(why);
	return -EINVAL;
}

static int pause_it(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;

	if (run->paused[0])
		return refuse(ret_error, "it is paused already");
	vmm_run_pause(run, "by a command");
	return 0;
}

static int resume(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;

	if (!run->paused[0])
		return refuse(ret_error, "it is not paused");
	vmm_run_resume(run);
	return 0;
}

static int stop(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;

	if (run->paused[0])
		return refuse(ret_error, "it is paused, and cannot power off; csvvm resume lets it "
					 "go on, csvvm kill ends it at once");
	vmm_machine_power_button(run->machine);
	return 0;
}

static int kill_it(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	vmm_machine_kill(((struct vmm_run *)arg)->machine);
	return 0;
}

/* The connection does the rest (vmm_command.then). */
static int nothing(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	return 0;
}

const struct vmm_command vmm_commands[] = {
	{ "version", version, VMM_THEN_GOES_ON },
	{ "info", info, VMM_THEN_GOES_ON },
	{ "pause", pause_it, VMM_THEN_GOES_ON },
	{ "resume", resume, VMM_THEN_GOES_ON },
	{ "stop", stop, VMM_THEN_GOES_ON },
	{ "kill", kill_it, VMM_THEN_GOES_ON },
	{ "events", nothing, VMM_THEN_EVENTS },
	{ "console", nothing, VMM_THEN_CONSOLE },
	{ NULL, NULL, VMM_THEN_GOES_ON },
};
