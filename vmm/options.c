/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/log.h"
#include "vmm/control.h"
#include "vmm/options_net.h"

#define FILE_MAX_BYTES (1u << 20)

int vmm_fail(const struct vmm_options *options, int code, const char *fmt, ...)
{
	struct json_object *o;
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	fprintf(stderr, "csvvm: %s\n", text ? text : "out of memory");
	if (options->json && text) {
		o = json_object_new_object();
		json_object_object_add(o, "error", json_object_new_string(text));
		puts(json_object_to_json_string_ext(o, VMM_JSON_TEXT));
		json_object_put(o);
	}
	free(text);
	return code;
}

static int say(char **ret_error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Always -EINVAL. */
static int say(char **ret_error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return -EINVAL;
}

/* ---- values ---- */

int vmm_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char suffixes[] = "kMGT";
	unsigned long long n;
	const char *suffix;
	char *rest;

	errno = 0;
	n = strtoull(text, &rest, 10);
	if (errno || rest == text || *text == '-')
		return -EINVAL;
	if (*rest) {
		suffix = strchr(suffixes, *rest);
		if (!suffix || rest[1])
			return -EINVAL;
		for (const char *s = suffixes; s <= suffix; s++) {
			if (checked_mul(n, 1024ull, &n))
				return -ERANGE;
		}
	}
	*ret_bytes = n;
	return 0;
}

static int parse_number(
	const char *text, unsigned int min, unsigned int max, unsigned int *ret_n)
{
	char *rest;
	unsigned long n = strtoul(text, &rest, 10);

	if (*rest || rest == text || *text == '-' || n < min || n > max)
		return -EINVAL;
	*ret_n = (unsigned int)n;
	return 0;
}

/* Without a text it is yes. */
static int parse_bool(const char *text, bool *ret_yes)
{
	if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return -EINVAL;
	*ret_yes = !text || text[0] == 't';
	return 0;
}

bool vmm_name_ok(const char *name)
{
	size_t len = strlen(name);

	return len > 0 && len <= VMM_NAME_MAX && isalnum((unsigned char)name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       len;
}

/* ---- disks ---- */

static int set_ro(struct vmm_disk_conf *disk, const char *text)
{
	return parse_bool(text, &disk->readonly);
}

static int set_queues(struct vmm_disk_conf *disk, const char *text)
{
	return text ? parse_number(text, 1, VMM_MAX_CPUS, &disk->nr_queues) : -EINVAL;
}

static int set_on_error(struct vmm_disk_conf *disk, const char *text)
{
	if (!text || (strcmp(text, "pause") != 0 && strcmp(text, "report") != 0))
		return -EINVAL;
	disk->on_error = text[0] == 'p' ? VMM_ON_ERROR_PAUSE : VMM_ON_ERROR_REPORT;
	return 0;
}

static const char *const bus_names[] = { [VMM_BUS_ANY] = "any",
	[VMM_BUS_BLK] = "blk", [VMM_BUS_SCSI] = "scsi" };

const char *vmm_bus_name(enum vmm_disk_bus bus)
{
	return bus_names[bus];
}

static int set_bus(struct vmm_disk_conf *disk, const char *text)
{
	for (unsigned int i = VMM_BUS_BLK; text && i < ARRAY_SIZE(bus_names); i++) {
		if (strcmp(bus_names[i], text) == 0) {
			disk->bus = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int set_id(struct vmm_disk_conf *disk, const char *text)
{
	if (!text || !vmm_name_ok(text) || strlen(text) > VMM_DISK_ID_MAX)
		return -EINVAL;
	strcpy(disk->id, text);
	return 0;
}

/* What may stand behind a disk's comma, or in its object. */
static const struct disk_word {
	const char *name, *wants;
	int (*set)(struct vmm_disk_conf *disk, const char *text); /* NULL: without a value */
} disk_words[] = {
	{ "ro", "nothing, true or false", set_ro },
	{ "queues", "a number from 1 to 64", set_queues },
	{ "on-error", "pause or report", set_on_error },
	{ "bus", "blk or scsi", set_bus },
	{ "id", "up to 20 letters, digits, '.', '_' or '-', first a letter or digit", set_id },
};

static int set_disk_word(
	struct vmm_disk_conf *disk, const char *name, const char *text, char **ret_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(disk_words); i++) {
		if (strcmp(disk_words[i].name, name) != 0)
			continue;
		if (disk_words[i].set(disk, text) < 0)
			return say(ret_error, "\"%s\" wants %s, not \"%s\"", name,
				disk_words[i].wants, text ? text : "");
		return 0;
	}
	return say(ret_error, "a disk has no \"%s\"", name);
}

/* The next comma outside of the parentheses that a filter's URI has, cut out; or NULL. */
static char *cut(char *text)
{
	int depth = 0;

	for (; *text; text++) {
		depth += *text == '(' ? 1 : *text == ')' ? -1 : 0;
		if (*text == ',' && depth <= 0) {
			*text = '\0';
			return text + 1;
		}
	}
	return NULL;
}

int vmm_options_disk(struct vmm_disk_conf *disk, char *text, char **ret_error)
{
	char *next = cut(text), *word;
	int err = 0;

	*disk = (struct vmm_disk_conf){ .path = text };
	if (!*text)
		return say(ret_error, "a disk wants a file");
	while (!err && (word = next)) {
		char *value;

		next = cut(word);
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		err = set_disk_word(disk, word, value, ret_error);
	}
	return err;
}

/* A value of the file as the text that it would be on the command line; NULL if it has none. */
static const char *text_of(struct json_object *json)
{
	switch (json_object_get_type(json)) {
	case json_type_string:
		/* a NUL within would hide what follows it */
		if (strlen(json_object_get_string(json)) != (size_t)json_object_get_string_len(json))
			return NULL;
		return json_object_get_string(json);
	case json_type_int:
	case json_type_boolean:
		return json_object_get_string(json);
	default:
		return NULL;
	}
}

int vmm_options_json_disk(struct vmm_disk_conf *disk, struct json_object *json, char **ret_error)
{
	int err = 0;

	*disk = (struct vmm_disk_conf){ 0 };
	if (json_object_is_type(json, json_type_string)) {
		disk->path = text_of(json);
	} else if (json_object_is_type(json, json_type_object)) {
		json_object_object_foreach(json, key, value)
		{
			const char *text = text_of(value);

			if (strcmp(key, "file") == 0 && json_object_is_type(value, json_type_string))
				disk->path = text;
			else if (!text)
				err = say(ret_error, "\"%s\" is of the wrong kind", key);
			else
				err = set_disk_word(disk, key, text, ret_error);
			if (err)
				return err;
		}
	}
	if (!disk->path || !*disk->path)
		return say(ret_error, "a disk wants a \"file\"");
	return 0;
}

static struct vmm_disk_conf *next_disk(struct vmm_conf *conf, char **ret_error)
{
	if (conf->nr_disks < VMM_MAX_DISKS)
		return &conf->disks[conf->nr_disks];
	say(ret_error, "there can be %u disks", VMM_MAX_DISKS);
	return NULL;
}

static bool id_is_free(const struct vmm_conf *conf, const char *id, const struct vmm_disk_conf *but)
{
	for (unsigned int i = 0; i < conf->nr_disks; i++) {
		if (&conf->disks[i] != but && strcmp(conf->disks[i].id, id) == 0)
			return false;
	}
	return true;
}

int vmm_options_name_disks(struct vmm_conf *conf, char **ret_error)
{
	unsigned int nr_blks = 0;

	for (unsigned int i = 0; i < conf->nr_disks; i++) {
		struct vmm_disk_conf *disk = &conf->disks[i];

		if (disk->bus == VMM_BUS_ANY)
			disk->bus = VMM_BUS_BLK;
		if (disk->id[0] && !id_is_free(conf, disk->id, disk))
			return say(ret_error, "two disks have the id \"%s\"", disk->id);
		nr_blks += disk->bus == VMM_BUS_BLK;
	}
	if (nr_blks > VMM_MAX_BLKS)
		return say(ret_error, "there can be %u disks that are not on the bus scsi",
			VMM_MAX_BLKS);
	for (unsigned int i = 0; i < conf->nr_disks; i++) {
		struct vmm_disk_conf *disk = &conf->disks[i];
		char id[VMM_DISK_ID_MAX + 1];
		unsigned int n = i;

		if (disk->id[0])
			continue;
		do
			snprintf(id, sizeof(id), "disk%u", n++);
		while (!id_is_free(conf, id, disk));
		strcpy(disk->id, id);
	}
	return 0;
}

/* ---- options ---- */

static int set_kernel(struct vmm_options *options, const char *text)
{
	options->conf.boot.kernel = text;
	return 0;
}

static int set_initrd(struct vmm_options *options, const char *text)
{
	options->conf.boot.initrd = text;
	return 0;
}

static int set_append(struct vmm_options *options, const char *text)
{
	options->conf.boot.cmdline = text;
	return 0;
}

static int set_memory(struct vmm_options *options, const char *text)
{
	uint64_t bytes;

	if (vmm_parse_size(text, &bytes) < 0 || bytes < 32 << 20 || bytes % 4096 != 0)
		return -EINVAL;
	options->conf.memory_bytes = bytes;
	return 0;
}

static int set_cpus(struct vmm_options *options, const char *text)
{
	return parse_number(text, 1, VMM_MAX_CPUS, &options->conf.nr_cpus);
}

static int set_name(struct vmm_options *options, const char *text)
{
	options->name = text;
	return vmm_name_ok(text) ? 0 : -EINVAL;
}

static int set_control(struct vmm_options *options, const char *text)
{
	options->control_dir = text;
	return *text ? 0 : -EINVAL;
}

static int set_wait(struct vmm_options *options, const char *text)
{
	return parse_number(text, 0, 86400, &options->wait_s);
}

static int set_size(struct vmm_options *options, const char *text)
{
	int err = vmm_parse_size(text, &options->size_bytes);

	return err || options->size_bytes == 0 ? -EINVAL : 0;
}

static int set_force(struct vmm_options *options, const char *text)
{
	return parse_bool(text, &options->force);
}

static int set_daemon(struct vmm_options *options, const char *text)
{
	return parse_bool(text, &options->daemon);
}

static int set_no_reboot(struct vmm_options *options, const char *text)
{
	return parse_bool(text, &options->no_reboot);
}

static int set_json(struct vmm_options *options, const char *text)
{
	return parse_bool(text, &options->json);
}

static int set_verbose(struct vmm_options *options, const char *text)
{
	bool yes;
	int err = parse_bool(text, &yes);

	if (!err && yes)
		log_set_level(LOG_LVL_DEBUG);
	return err;
}

#define DISK 'd'
#define NET 't'

#define IN_FILE 1u   /* is a key of the file, too */
#define NO_VALUE 2u  /* on the command line */

static const struct opt {
	const char *name;
	int letter; /* or a number that is none */
	unsigned int takes, flags;
	int (*set)(struct vmm_options *options, const char *text); /* NULL: elsewhere */
	const char *wants;
} opts[] = {
	{ "kernel", 'k', VMM_FOR_RUN, IN_FILE, set_kernel, "a file" },
	{ "initrd", 'i', VMM_FOR_RUN, IN_FILE, set_initrd, "a file" },
	{ "append", 'a', VMM_FOR_RUN, IN_FILE, set_append, "a text" },
	{ "memory", 'm', VMM_FOR_RUN, IN_FILE, set_memory, "a size of at least 32M, of whole pages" },
	{ "cpus", 'c', VMM_FOR_RUN, IN_FILE, set_cpus, "a number from 1 to 64" },
	{ "disk", DISK, VMM_FOR_RUN, IN_FILE, NULL, "a file, or a list of them" },
	{ "net", NET, VMM_FOR_RUN, IN_FILE, NULL, "an object, or a list of them" },
	{ "name", 'N', VMM_FOR_RUN, IN_FILE, set_name,
		"up to 48 letters, digits, '.', '_' or '-', first a letter or digit" },
	{ "no-reboot", 'n', VMM_FOR_RUN, IN_FILE | NO_VALUE, set_no_reboot, "true or false" },
	{ "daemon", 'b', VMM_FOR_RUN, NO_VALUE, set_daemon, NULL },
	{ "wait", 'w', VMM_FOR_WAIT, 0, set_wait, "a number of seconds" },
	{ "force", 'f', VMM_FOR_DETACH, NO_VALUE, set_force, NULL },
	{ "size", 's', VMM_FOR_RESIZE, 0, set_size, "a size" },
	{ "control", 'C', ~0u, 0, set_control, "a folder" },
	{ "json", 'j', ~0u, NO_VALUE, set_json, NULL },
	{ "verbose", 'v', VMM_FOR_RUN, IN_FILE | NO_VALUE, set_verbose, "true or false" },
	{ "help", 'h', ~0u, NO_VALUE, NULL, NULL },
	{ "version", 'V', ~0u, NO_VALUE, NULL, NULL },
};

static int set_option(
	struct vmm_options *options, const struct opt *opt, const char *text, char **ret_error)
{
	if (opt->set(options, text) < 0)
		return say(ret_error, "wants %s, not \"%s\"", opt->wants, text);
	return 0;
}

/* ---- the file ---- */

static int set_json_disks(struct vmm_options *options, struct json_object *json, char **ret_error)
{
	bool is_list = json_object_is_type(json, json_type_array);
	size_t nr = is_list ? json_object_array_length(json) : 1;
	int err = 0;

	for (size_t i = 0; !err && i < nr; i++) {
		struct vmm_disk_conf *disk = next_disk(&options->conf, ret_error);

		err = disk ? vmm_options_json_disk(disk,
				     is_list ? json_object_array_get_idx(json, i) : json, ret_error)
			   : -ENOSPC;
		if (!err)
			options->conf.nr_disks++;
	}
	return err;
}

static int set_key(struct vmm_options *options, const char *key, struct json_object *value,
	char **ret_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++) {
		if (!(opts[i].flags & IN_FILE) || strcmp(opts[i].name, key) != 0)
			continue;
		if (opts[i].letter == DISK)
			return set_json_disks(options, value, ret_error);
		if (opts[i].letter == NET)
			return vmm_options_json_net(&options->conf, value, ret_error);
		if (!text_of(value))
			return say(ret_error, "wants %s", opts[i].wants);
		return set_option(options, &opts[i], text_of(value), ret_error);
	}
	return say(ret_error, "there is no such key");
}

int vmm_options_json(
	struct vmm_options *options, const char *path, const char *text, char **ret_error)
{
	enum json_tokener_error error;
	struct json_object *file = json_tokener_parse_verbose(text, &error);
	char *why = NULL;
	int err = 0;

	*ret_error = NULL;
	if (!json_object_is_type(file, json_type_object)) {
		json_object_put(file);
		return say(ret_error, "%s: it is not a JSON object: %s", path,
			error == json_tokener_success ? "it is something else"
						      : json_tokener_error_desc(error));
	}
	json_object_put(options->file);
	options->file = file;
	json_object_object_foreach(file, key, value)
	{
		err = set_key(options, key, value, &why);
		if (err) {
			say(ret_error, "%s: \"%s\": %s", path, key, why ? why : "out of memory");
			free(why);
			break;
		}
	}
	return err;
}

static int read_file(struct vmm_options *options, const char *path)
{
	char *text = calloc(1, FILE_MAX_BYTES + 1), *error = NULL;
	FILE *f = text ? fopen(path, "re") : NULL;
	size_t len = f ? fread(text, 1, FILE_MAX_BYTES, f) : 0;
	int err = 0;

	if (!f || ferror(f))
		err = vmm_fail(options, -EINVAL, "%s: %s", path, strerror(errno));
	else if (len == FILE_MAX_BYTES || strlen(text) != len)
		err = vmm_fail(options, -EINVAL, "%s: it is not a JSON object", path);
	else if (vmm_options_json(options, path, text, &error) < 0)
		err = vmm_fail(options, -EINVAL, "%s", error ? error : "out of memory");
	if (f)
		fclose(f);
	free(error);
	free(text);
	return err;
}

/* ---- the command line ---- */

/* The next option; NULL at the end, with *ret_err set if it is none. */
static const struct opt *next_opt(int argc, char **argv, int *ret_err)
{
	struct option longs[ARRAY_SIZE(opts) + 1] = { 0 };
	char shorts[2 * ARRAY_SIZE(opts) + 1], *s = shorts;
	int letter;

	for (size_t i = 0; i < ARRAY_SIZE(opts); i++) {
		bool has_value = !(opts[i].flags & NO_VALUE);

		longs[i] = (struct option){ opts[i].name, has_value, NULL, opts[i].letter };
		*s++ = (char)opts[i].letter;
		if (has_value)
			*s++ = ':';
	}
	*s = '\0';
	letter = getopt_long(argc, argv, shorts, longs, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++) {
		if (opts[i].letter == letter)
			return &opts[i];
	}
	*ret_err = letter == -1 ? 0 : -EINVAL;
	return NULL;
}

int vmm_options_begin(struct vmm_options *options, int argc, char **argv)
{
	const struct opt *opt;
	int err;

	*options = (struct vmm_options){ .conf = { .memory_bytes = 512 << 20, .nr_cpus = 1 } };
	while ((opt = next_opt(argc, argv, &err))) {
		options->json |= opt->letter == 'j';
		options->help |= opt->letter == 'h';
		options->version |= opt->letter == 'V';
	}
	if (err)
		return vmm_fail(options, err, "wrong usage (csvvm --help)");
	if (optind < argc)
		options->command = argv[optind];
	if (optind + 1 < argc)
		options->operand = argv[optind + 1];
	if (optind + 2 < argc)
		options->argument = argv[optind + 2];
	if (optind + 3 < argc)
		return vmm_fail(
			options, -EINVAL, "what is \"%s\"? (csvvm --help)", argv[optind + 3]);
	return 0;
}

static int set_disk(struct vmm_options *options, char *text, char **ret_error)
{
	struct vmm_disk_conf *disk = next_disk(&options->conf, ret_error);
	int err = disk ? vmm_options_disk(disk, text, ret_error) : -ENOSPC;

	if (!err)
		options->conf.nr_disks++;
	return err;
}

int vmm_options_end(
	struct vmm_options *options, unsigned int takes, const char *file, int argc, char **argv)
{
	int err = file ? read_file(options, file) : 0;
	const struct opt *opt;
	char *why = NULL;

	if (err)
		return err;
	optind = 0; /* from the beginning */
	while (!why && (opt = next_opt(argc, argv, &err))) {
		if (opt->takes != ~0u && !(opt->takes & takes))
			err = vmm_fail(options, -EINVAL, "%s does not take --%s (csvvm --help)",
				options->command, opt->name);
		else if (opt->letter == DISK)
			err = set_disk(options, optarg, &why);
		else if (opt->letter == NET)
			err = vmm_options_net(&options->conf, optarg, &why);
		else if (opt->set)
			err = set_option(options, opt, optarg, &why);
		if (why)
			vmm_fail(options, err, "--%s: %s (csvvm --help)", opt->name, why);
		if (err)
			break;
	}
	if (!err && vmm_options_name_disks(&options->conf, &why) < 0)
		err = vmm_fail(options, -EINVAL, "%s", why ? why : "out of memory");
	free(why);
	return err;
}

void vmm_options_free(struct vmm_options *options)
{
	json_object_put(options->file);
	options->file = NULL;
}
