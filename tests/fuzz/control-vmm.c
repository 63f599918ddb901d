/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What anybody writes to a machine's control socket, and to the file that describes a machine: the
 * real socket and console, commands that need no machine.
 *
 *	0: the rest is a file; else size of a piece (1), number of pieces (1), then what is written
 *
 * Each request has one answer, in order, a line of JSON; behind `console` comes the console.
 */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"
#include "util/checked.h"
#include "util/loop.h"
#include "vmm/console.h"
#include "vmm/control.h"
#include "vmm/control_socket.h"
#include "vmm/options.h"

const char *const fuzz_words[] = { "{", "}", "[", "]", "\"", ":", ",", "\"cmd\":", "\"events\"", "\"console\"", "\"disk\"",
	"\"shout\"", "\"id\":", "\"file\":", "\"ro\":", "\"bus\":", "\"scsi\"", "\"queues\":", "\"on-error\":", "\"report\"", "\"kernel\":",
	"\"memory\":", "\"cpus\":", "\"name\":", "\"1G\"", "0", "1", "-1", "64", "65", "1e99", "18446744073709551615", "null",
	"true", "\\u0000", "\\ud800", "\n", "\\", "[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "/*", NULL };

static const char *const seeds[] = {
	"{\"cmd\": \"disk\", \"disk\": {\"file\": \"/a\", \"ro\": true, \"queues\": 3, \"on-error\": \"report\"}}\n",
	"{\"cmd\": \"disk\", \"disk\": \"file:/a,b\", \"id\": [1]}\n",
	"{\"cmd\": \"events\"}\n{\"cmd\": \"shout\"}\n{\"cmd\": \"shout\", \"id\": {}}\n",
	"{\"cmd\": \"console\"}\ntyped\n{}\n",
	"{\"cmd\": {\"cmd\": []}}\n", "[1, 2]\n", "\"cmd\"\n", "{}\n\n{}\n", "{\"cmd\": 7}\n", "null\n",
};

static const char *const files[] = {
	"{\"name\": \"a\", \"kernel\": \"/k\", \"memory\": \"64M\", \"cpus\": 2, \"disk\": [\"/a\", {\"file\": \"/b\"}]}",
	"{\"append\": \"x\", \"initrd\": \"/i\", \"no-reboot\": true, \"verbose\": false, \"disk\": \"/a\"}",
};

static char dir[] = "/tmp/csvfs-fuzz.XXXXXX";
static struct loop *loop;
static struct vmm_control *control;
static struct vmm_console *console;

static int disk(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct json_object *json = NULL;
	struct vmm_disk_conf conf;

	json_object_object_get_ex(request, "disk", &json);
	return vmm_options_json_disk(&conf, json, ret_error);
}

static int shout(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string("shout"));
	vmm_control_event(control, event);
	return 0;
}

static int nothing(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	return 0;
}

static const struct vmm_command commands[] = {
	{ "disk", disk, VMM_THEN_GOES_ON },
	{ "shout", shout, VMM_THEN_GOES_ON },
	{ "events", nothing, VMM_THEN_EVENTS },
	{ "console", nothing, VMM_THEN_CONSOLE },
	{ NULL, NULL, VMM_THEN_GOES_ON },
};

static void attach(void *arg, int fd, const void *bytes, size_t len_bytes)
{
	CHECK_OK(vmm_console_attach(console, fd, bytes, len_bytes));
}

static void clean_up(void)
{
	vmm_control_free(control);
	vmm_console_free(console);
	loop_free(loop);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct vmm_control_conf conf = { .dir = dir, .name = "fuzz", .commands = commands, .console = attach };
	char *error;

	CHECK(mkdtemp(dir));
	CHECK_OK(loop_new(&loop));
	conf.loop = loop;
	CHECK_OK(vmm_console_new(loop, &console));
	CHECK_OK(vmm_control_new(&conf, &control, &error));
	vmm_console_put(console, '#');
	atexit(clean_up);
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (size_t i = 0; i < ARRAY_SIZE(seeds) + ARRAY_SIZE(files); i++) {
		bool is_file = i >= ARRAY_SIZE(seeds);
		const char *text = is_file ? files[i - ARRAY_SIZE(seeds)] : seeds[i];
		struct fuzz_out out = { .len = 0 };

		fuzz_put(&out, is_file ? 0 : i % 3 ? 255 : i + 1, 1);
		if (!is_file)
			fuzz_put(&out, 255, 1);
		fuzz_put_bytes(&out, text, strlen(text));
		add(out.data, out.len);
	}
}

static void try_file(const uint8_t *data, size_t len)
{
	struct vmm_options options = { .conf.nr_cpus = 1 };
	char *text = strndup((const char *)data, len), *error = NULL;
	int err;

	CHECK(text);
	err = vmm_options_json(&options, "file", text, &error);
	if (err && (!error || strncmp(error, "file: ", 6) != 0))
		fuzz_fail("a file is refused without a reason");
	if (options.conf.nr_disks > VMM_MAX_DISKS || options.conf.nr_cpus < 1 ||
		options.conf.nr_cpus > VMM_MAX_CPUS)
		fuzz_fail("a file gives what cannot be");
	free(error);
	free(text);
	vmm_options_free(&options);
}

/* Whole lines of JSON, until the console's. */
static void check_answers(char *text)
{
	char *end;

	for (; *text && *text != '#'; text = end + 1) {
		struct json_object *o;

		end = strchr(text, '\n');
		if (!end)
			fuzz_fail("an answer is not a line");
		*end = '\0';
		o = json_tokener_parse(text);
		if (!json_object_is_type(o, json_type_object))
			fuzz_fail("an answer is no JSON object");
		json_object_put(o);
	}
}

/* All that comes until the other end closes, or has nothing more to say. */
static void hear(int fd, char *text, size_t room, size_t *len)
{
	ssize_t n;

	do {
		for (int i = 0; i < 3; i++)
			loop_run_once(loop, false);
		n = recv(fd, text + *len, room - *len, MSG_DONTWAIT);
		*len += n > 0 ? (size_t)n : 0;
	} while (n > 0 && *len < room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static char text[4 << 20];
	struct fuzz_in in = { data, len };
	size_t piece = fuzz_num(&in, 1), pieces, n, heard = 0;
	int fd;

	if (piece == 0) {
		try_file(in.pos, in.left);
		return 0;
	}
	pieces = 1 + fuzz_num(&in, 1);
	fd = vmm_socket_connect(dir, "fuzz");
	CHECK(fd >= 0);
	while (in.left > 0 && pieces-- > 0) {
		const uint8_t *bytes = fuzz_bytes(&in, piece, &n);

		if (send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			break;
		hear(fd, text, sizeof(text) - 1, &heard);
	}
	hear(fd, text, sizeof(text) - 1, &heard);
	text[heard] = '\0';
	check_answers(text);
	close(fd);
	for (int i = 0; i < 3; i++)
		loop_run_once(loop, false);
	return 0;
}
