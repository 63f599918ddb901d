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

static struct json_object *disks_json(struct vmm_disks *disks)
{
	struct json_object *list = json_object_new_array();
	struct vmm_disk_info info;

	for (unsigned int i = 0; vmm_disks_info(disks, i, &info) == 0; i++) {
		struct json_object *disk = json_object_new_object();

		ADD(disk, "file", string(info.conf.path));
		ADD(disk, "id", string(info.conf.id));
		ADD(disk, "bus", string(vmm_bus_name(info.conf.bus)));
		ADD(disk, "ro", boolean(info.conf.readonly));
		ADD(disk, "on-error",
			string(info.conf.on_error == VMM_ON_ERROR_PAUSE ? "pause" : "report"));
		ADD(disk, "size_bytes", int64((int64_t)info.size_bytes));
		if (info.detaching)
			ADD(disk, "detaching", boolean(true));
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
	ADD(result, "balloon_bytes", int64((int64_t)vmm_machine_given_up(run->machine)));
	ADD(result, "kernel", string(conf->boot.kernel));
	json_object_object_add(result, "disks", disks_json(vmm_machine_disks(run->machine)));
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

/* ---- disks ---- */

static int attach_disk(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;
	struct json_object *json = NULL;
	struct vmm_disk_conf disk;
	int err;

	json_object_object_get_ex(request, "disk", &json);
	err = vmm_options_json_disk(&disk, json, ret_error);
	if (!err)
		err = vmm_run_attach_disk(run, &disk, ret_error);
	if (!err)
		ADD(result, "disk", string(disk.id));
	return err;
}

/* The id in "disk"; NULL: there is none. */
static const char *disk_id(struct json_object *request)
{
	struct json_object *id = NULL;

	json_object_object_get_ex(request, "disk", &id);
	return json_object_is_type(id, json_type_string) ? json_object_get_string(id) : NULL;
}

static int detach_disk(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;
	const char *id = disk_id(request);
	struct json_object *force = NULL;

	json_object_object_get_ex(request, "force", &force);
	if (!id || (force && !json_object_is_type(force, json_type_boolean)))
		return refuse(ret_error, "it wants the \"disk\"'s id, and \"force\" true or false");
	return vmm_disks_detach(
		vmm_machine_disks(run->machine), id, json_object_get_boolean(force), ret_error);
}

static int resize_disk(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;
	const char *id = disk_id(request);
	struct json_object *size = NULL;
	int64_t bytes;

	json_object_object_get_ex(request, "size_bytes", &size);
	bytes = json_object_get_int64(size);
	if (!id || (size && (!json_object_is_type(size, json_type_int) || bytes <= 0)))
		return refuse(
			ret_error, "it wants the \"disk\"'s id, and \"size_bytes\" above 0 or none");
	return vmm_disks_resize(
		vmm_machine_disks(run->machine), id, (uint64_t)bytes, ret_error);
}

static int balloon(
	void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct vmm_run *run = arg;
	uint64_t all = run->options->conf.memory_bytes;
	struct json_object *keeps = NULL;
	int64_t bytes;

	json_object_object_get_ex(request, "memory_bytes", &keeps);
	bytes = json_object_get_int64(keeps);
	if (!json_object_is_type(keeps, json_type_int) || bytes <= 0 || (uint64_t)bytes > all)
		return refuse(ret_error, "it wants \"memory_bytes\", above 0 and no more than the machine "
					 "has (csvvm info)");
	vmm_machine_give_up(run->machine, all - (uint64_t)bytes);
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
	{ "attach-disk", attach_disk, VMM_THEN_GOES_ON },
	{ "detach-disk", detach_disk, VMM_THEN_GOES_ON },
	{ "resize-disk", resize_disk, VMM_THEN_GOES_ON },
	{ "balloon", balloon, VMM_THEN_GOES_ON },
	{ "events", nothing, VMM_THEN_EVENTS },
	{ "console", nothing, VMM_THEN_CONSOLE },
	{ NULL, NULL, VMM_THEN_GOES_ON },
};
