/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fsck.csvfs: checks a volume that is not mounted, and repairs it. */
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "tools/fsck_volume.h"
#include "tools/tool.h"
#include "util/err.h"
#include "util/log.h"
#include "util/loop.h"

/* fsck(8) */
enum { EXIT_CLEAN = 0, EXIT_FIXED = 1, EXIT_LEFT = 4, EXIT_FAILED = 8, EXIT_USAGE = 16 };

#define MAX_PASSES 200u

enum mode { MODE_ASK, MODE_LOOK, MODE_YES, MODE_SAFE };

struct options {
	const char *uri, *auth_file;
	enum mode mode;
	bool json, quiet;
	int progress; /* 1 always, 0 never, -1 on a terminal */
};

struct run {
	const struct options *o;
	struct fsck_volume vol;
	struct csv_repair_report last;
	struct json_object *errors, *repairs; /* of JSON */
	uint64_t log_errors, first_errors, fixed, passes;
	unsigned percent; /* last shown */
	uint64_t start_ns;
};

static const char usage[] =
	"Usage: fsck.csvfs [OPTION]... DEVICE\n"
	"Check a csvfs volume that is mounted nowhere, and repair it: /dev/..., file:PATH,\n"
	"iscsi://HOST[:PORT]/TARGET/LUN, nbd://HOST[:PORT]/EXPORT.\n"
	"\n"
	"  -n, --dry-run            only look: write nothing, not even a replay of the log\n"
	"  -y, --yes                repair everything without asking\n"
	"  -p, --preen              repair without asking what loses nothing (also -a)\n"
	"      --json               print the result as JSON\n"
	"      --progress           show progress, also where it is no terminal (also -C)\n"
	"      --no-progress        show none\n"
	"      --auth-file=FILE     user%password of the device, in a file of mode 0600\n"
	"  -q, --quiet              print nothing but what could not be repaired\n"
	"  -h, --help               show this text\n"
	"  -V, --version            show the version\n"
	"\n"
	"Without -n, -y or -p it asks before it repairs. What it finds: fsck.csvfs.checks(7).\n"
	"Exit status: 0 nothing was wrong, 1 all was repaired, 4 something is left, 8 it could not\n"
	"be checked, 16 wrong usage.\n";

/* ---- what is told ---- */

static void on_error(void *arg, const char *text)
{
	struct run *r = arg;

	if (r->o->json)
		json_object_array_add(r->errors, json_object_new_string(text));
	else if (!r->o->quiet || r->o->mode == MODE_LOOK)
		puts(text);
}

static void on_fixed(void *arg, const char *text)
{
	struct run *r = arg;

	if (r->o->json)
		json_object_array_add(r->repairs, json_object_new_string(text));
	else if (!r->o->quiet)
		printf("  repaired: %s\n", text);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct run *r = arg;
	unsigned percent = total ? (unsigned)((double)done / (double)total * 100.0) : 100;

	if (percent > 99 && done < total)
		percent = 99;
	if (r->o->progress == 0 || percent == r->percent || percent > 100)
		return;
	r->percent = percent;
	if (isatty(STDERR_FILENO))
		tool_progress("checking", percent, 100);
	else if (r->o->progress == 1)
		fprintf(stderr, "checking %u%%\n", percent);
}

static int failed(const struct run *r, const char *what, int err)
{
	fprintf(stderr, "fsck.csvfs: %s: %s\n", what, err_str(err));
	return EXIT_FAILED;
}

/* ---- passes ---- */

/* One pass on an engine of its own. */
static int pass(struct run *r, bool write)
{
	struct csv_repair_opts opts = {
		.write = write,
		.safe_only = r->o->mode == MODE_SAFE,
		.now_ns = (int64_t)time(NULL) * 1000000000,
		.msg = on_error,
		.fixed = on_fixed,
		.progress = on_progress,
		.arg = r,
	};
	uint64_t log_errors = 0;
	int err = fsck_engine_open(&r->vol, write && r->o->mode != MODE_SAFE, on_error, r,
		&log_errors);

	r->percent = 101;
	if (r->passes++ == 0)
		r->log_errors = log_errors;
	if (err)
		return err;
	err = csv_repair(r->vol.fs, &opts, &r->last);
	on_progress(r, 1, 1);
	int close_err = fsck_engine_close(&r->vol);
	return err ? err : close_err;
}

static bool ask(const struct run *r)
{
	char line[16] = "";

	if (r->o->json || !isatty(STDIN_FILENO))
		return false;
	printf("%llu errors. Repair them? [y/N] ", (unsigned long long)r->last.check.errors);
	fflush(stdout);
	return fgets(line, sizeof(line), stdin) && (line[0] == 'y' || line[0] == 'Y');
}

/* Until a pass finds nothing that it can do. */
static int repair(struct run *r)
{
	for (;;) {
		int err = pass(r, true);

		if (err)
			return err;
		if (r->passes == 1)
			r->first_errors = r->last.check.errors;
		r->fixed += r->last.fixed;
		if (r->last.fixed == 0 || r->passes >= MAX_PASSES)
			return 0;
	}
}

static int check(struct run *r)
{
	bool write = r->o->mode == MODE_YES || r->o->mode == MODE_SAFE;
	int err;

	if (write)
		return repair(r);
	err = pass(r, false);
	r->first_errors = r->last.check.errors;
	if (!err && r->last.check.errors && r->o->mode == MODE_ASK && ask(r))
		err = repair(r);
	return err;
}

/* ---- the result ---- */

static void print_json(struct run *r, int status, double seconds)
{
	struct json_object *j = json_object_new_object();
	char uuid[37];

	uuid_unparse_lower(r->vol.geom.uuid, uuid);
	json_object_object_add(j, "device", json_object_new_string(r->o->uri));
	json_object_object_add(j, "uuid", json_object_new_string(uuid));
	json_object_object_add(j, "label", json_object_new_string(r->vol.geom.label));
	json_object_object_add(j, "status", json_object_new_int(status));
	json_object_object_add(j, "errors_left", json_object_new_uint64(r->last.check.errors));
	json_object_object_add(j, "passes", json_object_new_uint64(r->passes));
	json_object_object_add(j, "log_records", json_object_new_uint64(r->vol.replayed));
	json_object_object_add(j, "inodes", json_object_new_uint64(r->last.check.inodes));
	json_object_object_add(j, "directories", json_object_new_uint64(r->last.check.dirs));
	json_object_object_add(j, "extents", json_object_new_uint64(r->last.check.extents));
	json_object_object_add(j, "tree_blocks", json_object_new_uint64(r->last.check.tree_blks));
	json_object_object_add(j, "used_bytes",
		json_object_new_uint64(r->last.check.used_blks * 4096));
	json_object_object_add(j, "seconds", json_object_new_double(seconds));
	json_object_object_add(j, "errors", json_object_get(r->errors));
	json_object_object_add(j, "repairs", json_object_get(r->repairs));
	puts(json_object_to_json_string_ext(j, JSON_C_TO_STRING_PRETTY));
	json_object_put(j);
}

static void print_result(struct run *r, int status)
{
	const struct csv_check_report *c = &r->last.check;
	double seconds = (double)(clock_mono_ns() - r->start_ns) / 1e9;

	if (r->o->json) {
		print_json(r, status, seconds);
		return;
	}
	if (r->o->quiet && status != EXIT_LEFT)
		return;
	printf("%s: %s, %llu inodes (%llu directories), %s in use, %.1f s\n", r->o->uri,
		status == EXIT_CLEAN	? "clean"
		: status == EXIT_FIXED	? "repaired"
					: "ERRORS LEFT",
		(unsigned long long)c->inodes, (unsigned long long)c->dirs,
		tool_size(c->used_blks * 4096), seconds);
	if (status == EXIT_LEFT && r->o->mode == MODE_SAFE)
		printf("%s: repairs that lose something were left out; run fsck.csvfs -y\n",
			r->o->uri);
}

static int run(const struct options *o)
{
	struct run r = { .o = o, .vol = { .uri = o->uri, .auth_file = o->auth_file,
		.look = o->mode == MODE_LOOK } };
	char *why = NULL;
	int status, err;

	r.start_ns = clock_mono_ns();
	r.errors = json_object_new_array();
	r.repairs = json_object_new_array();
	err = fsck_open(&r.vol, &why);
	if (err) {
		fprintf(stderr, "fsck.csvfs: %s\n", why ? why : err_str(err));
		status = EXIT_FAILED;
		goto out;
	}
	err = check(&r);
	if (err == -ERR_CORRUPT && !r.vol.fs && r.log_errors) {
		status = EXIT_LEFT;
		r.last.check.errors = r.log_errors;
	} else if (err) {
		status = failed(&r, o->uri, err);
		goto out;
	} else if (r.last.check.errors || (r.log_errors && o->mode == MODE_LOOK)) {
		status = EXIT_LEFT;
	} else {
		status = r.fixed || r.first_errors || r.log_errors ? EXIT_FIXED : EXIT_CLEAN;
	}
	print_result(&r, status);
out:
	free(why);
	json_object_put(r.errors);
	json_object_put(r.repairs);
	fsck_close(&r.vol);
	return status;
}

/* ---- options ---- */

static int wrong_usage(const char *text)
{
	fprintf(stderr, "fsck.csvfs: %s; see fsck.csvfs --help\n", text);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	enum { OPT_AUTH = 256, OPT_JSON, OPT_PROGRESS, OPT_NO_PROGRESS };
	static const struct option longopts[] = { { "dry-run", 0, NULL, 'n' },
		{ "yes", 0, NULL, 'y' }, { "preen", 0, NULL, 'p' }, { "json", 0, NULL, OPT_JSON },
		{ "progress", 0, NULL, OPT_PROGRESS }, { "no-progress", 0, NULL, OPT_NO_PROGRESS },
		{ "auth-file", 1, NULL, OPT_AUTH }, { "quiet", 0, NULL, 'q' },
		{ "help", 0, NULL, 'h' }, { "version", 0, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	struct options o = { .progress = -1 };
	unsigned modes = 0;
	int c;

	while ((c = getopt_long(argc, argv, "nypaC::qhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'n':
			o.mode = MODE_LOOK;
			modes |= 1;
			break;
		case 'y':
			o.mode = MODE_YES;
			modes |= 2;
			break;
		case 'p':
		case 'a':
			o.mode = MODE_SAFE;
			modes |= 4;
			break;
		case 'C':
		case OPT_PROGRESS:
			o.progress = 1;
			break;
		case OPT_NO_PROGRESS:
			o.progress = 0;
			break;
		case OPT_JSON:
			o.json = true;
			break;
		case OPT_AUTH:
			o.auth_file = optarg;
			break;
		case 'q':
			o.quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts(TOOL_VERSION);
			return 0;
		default:
			fputs("Try 'fsck.csvfs --help'.\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (modes & (modes - 1))
		return wrong_usage("-n, -y and -p exclude each other");
	if (argc - optind != 1)
		return wrong_usage("give one device");
	o.uri = argv[optind];
	log_set_level((enum log_level)-1); /* what is wrong is told by the check */
	return run(&o);
}
