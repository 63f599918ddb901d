/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: shows and steers the volumes that are mounted on this node. The command line. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/csvadm.h"
#include "tools/tool.h"

static const char usage[] =
	"Usage: csvadm COMMAND [OPTION]... [VOLUME]\n"
	"Show and steer the csvfs volumes that are mounted on this node.\n"
	"\n"
	"  status [VOLUME]          everything an administrator asks first; default: each volume\n"
	"  volume list              the volumes that are mounted here\n"
	"  volume info [VOLUME]     one volume's size, space and settings\n"
	"  node list [VOLUME]       the nodes that have the volume\n"
	"  coordinator show [VOLUME]\n"
	"                           who owns the metadata, and the journal's state\n"
	"  coordinator move [NODE]  hand that role to NODE (number or name; default: any other)\n"
	"  io [VOLUME]              rates and latencies, a line an interval\n"
	"  log [VOLUME]             recent messages of the mount process\n"
	"  check [VOLUME]           look for errors in the metadata while the volume is used\n"
	"  image clone FILE NEW     a copy that shares the space of FILE, in no time\n"
	"  image info FILE          how much of FILE is allocated, shared, in how many pieces\n"
	"  image map FILE           where FILE lies on the volume\n"
	"  image convert FILE NEW   copy a disk image: raw, VHD or VHDX into any of these\n"
	"  image create FILE SIZE   an empty disk image\n"
	"\n"
	"VOLUME is a mount point, label, UUID or device; needed only where several are mounted.\n";

static const char common[] =
	"\n"
	"  -j, --json               print JSON, an object a line\n"
	"  -v, --volume=VOLUME      the volume, by mount point, label, UUID or device\n"
	"  -c, --control=DIR        folder of the control sockets; default /run/csvfs\n"
	"  -t, --timeout=SECS       give up an answer that has not come by then; default 5\n"
	"  -h, --help               show this text; behind a command: that command's\n"
	"  -V, --version            show the version\n"
	"\n"
	"Exit status: 0 done, 1 failed or refused, 2 wrong usage, 3 no such volume is mounted here,\n"
	"4 not permitted, 5 the mount process does not answer.\n";

#define TAKES_VOLUME 1u
#define TAKES_NODE 2u
#define TAKES_RATE 4u /* --interval, --count */
#define TAKES_FILE 8u
#define TAKES_NEW_FILE 16u
#define TAKES_MB 32u /* --rate */
#define TAKES_SIZE 64u	 /* behind a file */
#define TAKES_FORMAT 128u /* --format, --fixed, --dynamic, --force */

static const struct command {
	const char *object, *verb; /* verb NULL: there is none */
	bool is_default;	   /* of its object */
	unsigned takes;
	int (*run)(const struct adm *adm);
	const char *usage;
} commands[] = {
	{ "status", NULL, true, TAKES_VOLUME, adm_status,
		"Usage: csvadm status [OPTION]... [VOLUME]\n"
		"Show the volume, where it is mounted, what this node does, who coordinates, the\n"
		"members, what is being waited for and since when, fencing, journal and free space.\n"
		"Without VOLUME: of each volume that is mounted here.\n" },
	{ "volume", "list", true, 0, adm_volume_list,
		"Usage: csvadm volume list [OPTION]...\n"
		"List the volumes that are mounted here, also those that do not answer.\n" },
	{ "volume", "info", false, TAKES_VOLUME, adm_volume_info,
		"Usage: csvadm volume info [OPTION]... [VOLUME]\n"
		"Show a volume's device, size, free space and settings.\n" },
	{ "node", "list", true, TAKES_VOLUME, adm_node_list,
		"Usage: csvadm node list [OPTION]... [VOLUME]\n"
		"List the nodes that have the volume mounted, or had when they were lost.\n" },
	{ "coordinator", "show", true, TAKES_VOLUME, adm_coordinator_show,
		"Usage: csvadm coordinator show [OPTION]... [VOLUME]\n"
		"Show which node owns the metadata, its last takeover, and the journal.\n" },
	{ "coordinator", "move", false, TAKES_NODE, adm_coordinator_move,
		"Usage: csvadm coordinator move [OPTION]... [NODE]\n"
		"Hand the coordinator role over to NODE (number or name; default: whichever is next),\n"
		"and wait until that node serves. Run it on the node that coordinates. No program\n"
		"sees an error; what needs metadata waits for the moment that it takes.\n"
		"\n"
		"  -w, --wait=SECS          stop waiting after that long; default 60\n" },
	{ "io", NULL, true, TAKES_VOLUME | TAKES_RATE, adm_io,
		"Usage: csvadm io [OPTION]... [VOLUME]\n"
		"Print rates: what programs read and write on this node; the device's latencies, flushes\n"
		"and queue; requests to the coordinator, and recalls from it.\n"
		"\n"
		"  -i, --interval=SECS      length of an interval; default 1\n"
		"  -n, --count=N            end after N lines; default: go on\n" },
	{ "log", NULL, true, TAKES_VOLUME, adm_log,
		"Usage: csvadm log [OPTION]... [VOLUME]\n"
		"Print the recent messages of the volume's mount process, oldest first; it keeps 4,096,\n"
		"also of levels that it does not print.\n" },
	{ "check", NULL, true, TAKES_VOLUME | TAKES_MB, adm_check,
		"Usage: csvadm check [OPTION]... [VOLUME]\n"
		"Look at all metadata of the volume while it is used, and print what is wrong. Run it\n"
		"on the node that coordinates. It reads only, a little at a time, and stops nobody.\n"
		"\n"
		"  -r, --rate=MB            megabytes a second that it looks at; default 16\n" },
	{ "image", "clone", false, TAKES_FILE | TAKES_NEW_FILE, adm_image_clone,
		"Usage: csvadm image clone [OPTION]... FILE NEW\n"
		"Make NEW a copy of FILE, on the same volume. It takes the same short time whatever the\n"
		"size, and no space: both share what they have in common until one of them is written.\n"
		"A virtual machine that runs from FILE goes on; NEW is what its disk held at one moment,\n"
		"as after a loss of power. cp(1) does the same, a piece at a time.\n" },
	{ "image", "info", true, TAKES_FILE, adm_image_info,
		"Usage: csvadm image info [OPTION]... FILE\n"
		"Show which disk image is in FILE (raw, VHD, VHDX) and what it has allocated; and, on a\n"
		"volume, how much of FILE is written, allocated ahead, shared with clones or a hole, and\n"
		"in how many pieces it lies there.\n" },
	{ "image", "map", false, TAKES_FILE, adm_image_map,
		"Usage: csvadm image map [OPTION]... FILE\n"
		"List where FILE lies on the volume, in bytes: offset in the file, length, offset on the\n"
		"device, and state: written, shared (with clones), unwritten (allocated) or hole.\n" },
	{ "image", "convert", false, TAKES_FILE | TAKES_NEW_FILE | TAKES_FORMAT, adm_image_convert,
		"Usage: csvadm image convert [OPTION]... FILE NEW\n"
		"Copy the disk in FILE, a raw image, VHD or VHDX, which is found out, into the new image\n"
		"NEW. Zeroes stay holes. NEW is there only once it is whole. On any file system.\n"
		"\n"
		"  -f, --format=FORMAT      raw, vhd or vhdx; default: by the end of NEW's name, or raw\n"
		"      --dynamic            VHD, VHDX: allocate blocks as they are written; the default\n"
		"      --fixed              VHD, VHDX: each block has its place from the beginning\n"
		"      --force              replace NEW if it exists\n" },
	{ "image", "create", false, TAKES_FILE | TAKES_SIZE | TAKES_FORMAT, adm_image_create,
		"Usage: csvadm image create [OPTION]... FILE SIZE\n"
		"Make FILE an empty disk image of SIZE: bytes, or with k, M, G or T. On any file system.\n"
		"\n"
		"  -f, --format=FORMAT      raw, vhd or vhdx; default: by the end of FILE's name, or raw\n"
		"      --dynamic            VHD, VHDX: allocate blocks as they are written; the default\n"
		"      --fixed              VHD, VHDX: each block has its place from the beginning\n"
		"      --force              replace FILE if it exists\n" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* How many words name the command is told through *ret_words. */
static const struct command *find_command(char *const *words, int nr, int *ret_words)
{
	const struct command *found = NULL;

	for (size_t i = 0; nr && i < NR_COMMANDS; i++) {
		const struct command *c = &commands[i];
		if (strcmp(words[0], c->object))
			continue;
		if (c->verb && nr > 1 && !strcmp(words[1], c->verb)) {
			*ret_words = 2;
			return c;
		}
		if (c->is_default && (!c->verb || nr == 1)) {
			found = c;
			*ret_words = 1;
		}
	}
	return found;
}

static int wrong_command(char *const *words, int nr)
{
	if (!nr)
		return adm_fail(ADM_USAGE, "give a command, such as csvadm status; see csvadm --help");
	return adm_fail(ADM_USAGE, "no command \"%s%s%s\"; see csvadm --help", words[0],
		nr > 1 ? " " : "", nr > 1 ? words[1] : "");
}

static int parse_secs(const char *what, const char *text, double *ret_s)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= 0.01 && s <= 1e6))
		return adm_fail(ADM_USAGE, "%s: \"%s\": seconds, from 0.01 to 1000000", what, text);
	*ret_s = s;
	return ADM_OK;
}

static int parse_count(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (end == text || *end || errno || strchr(text, '-') || !n)
		return adm_fail(ADM_USAGE, "--count: \"%s\": a number from 1 on", text);
	*ret = n;
	return ADM_OK;
}

static int parse_rate(const char *text, double *ret_mb)
{
	char *end;
	double mb = strtod(text, &end);

	if (end == text || *end || !(mb >= 0.01 && mb <= 1e6))
		return adm_fail(ADM_USAGE, "--rate: \"%s\": megabytes a second, from 0.01 to 1000000",
			text);
	*ret_mb = mb;
	return ADM_OK;
}

struct given { /* options that only some commands take */
	bool rate, mb, wait, format, help, version;
};

enum { OPT_FIXED = 256, OPT_DYNAMIC, OPT_FORCE };

static void parse_format(int c, struct adm *adm)
{
	if (c == 'f')
		adm->format = optarg;
	adm->fixed |= c == OPT_FIXED;
	adm->dynamic |= c == OPT_DYNAMIC;
	adm->force |= c == OPT_FORCE;
}

static int parse(int argc, char **argv, struct adm *adm, struct given *given)
{
	static const struct option longopts[] = { { "json", 0, NULL, 'j' }, { "volume", 1, NULL, 'v' },
		{ "control", 1, NULL, 'c' }, { "timeout", 1, NULL, 't' }, { "wait", 1, NULL, 'w' },
		{ "interval", 1, NULL, 'i' }, { "rate", 1, NULL, 'r' }, { "count", 1, NULL, 'n' }, { "help", 0, NULL, 'h' },
		{ "format", 1, NULL, 'f' }, { "fixed", 0, NULL, OPT_FIXED },
		{ "dynamic", 0, NULL, OPT_DYNAMIC }, { "force", 0, NULL, OPT_FORCE },
		{ "version", 0, NULL, 'V' }, { NULL, 0, NULL, 0 } };
	int c, err = ADM_OK;

	while (!err && (c = getopt_long(argc, argv, "jv:c:t:w:i:n:r:f:hV", longopts, NULL)) != -1) {
		switch (c) {
		case 'j':
			adm->json = true;
			break;
		case 'v':
			adm->volume = optarg;
			break;
		case 'c':
			adm->control = optarg;
			break;
		case 't':
			err = parse_secs("--timeout", optarg, &adm->timeout_s);
			break;
		case 'w':
			given->wait = true;
			err = parse_secs("--wait", optarg, &adm->wait_s);
			break;
		case 'i':
			given->rate = true;
			err = parse_secs("--interval", optarg, &adm->interval_s);
			break;
		case 'r':
			given->mb = true;
			err = parse_rate(optarg, &adm->rate_mb);
			break;
		case 'n':
			given->rate = true;
			err = parse_count(optarg, &adm->count);
			break;
		case 'f':
		case OPT_FIXED:
		case OPT_DYNAMIC:
		case OPT_FORCE:
			given->format = true;
			parse_format(c, adm);
			break;
		case 'h':
			given->help = true;
			break;
		case 'V':
			given->version = true;
			break;
		default:
			fputs("Try 'csvadm --help'.\n", stderr);
			err = ADM_USAGE;
		}
	}
	return err;
}

static int run(const struct command *c, struct adm *adm, const struct given *given, char *const *rest,
	int nr)
{
	if (given->rate && !(c->takes & TAKES_RATE))
		return adm_fail(ADM_USAGE, "--interval and --count belong to csvadm io");
	if (given->mb && !(c->takes & TAKES_MB))
		return adm_fail(ADM_USAGE, "--rate belongs to csvadm check");
	if (given->wait && !(c->takes & TAKES_NODE))
		return adm_fail(ADM_USAGE, "--wait belongs to csvadm coordinator move");
	if (given->format && !(c->takes & TAKES_FORMAT))
		return adm_fail(ADM_USAGE,
			"--format, --fixed, --dynamic and --force belong to csvadm image convert and create");
	if (nr && (c->takes & TAKES_NODE))
		adm->node = *rest++, nr--;
	if (c->takes & TAKES_FILE) {
		int wanted = c->takes & (TAKES_NEW_FILE | TAKES_SIZE) ? 2 : 1;
		if (nr < wanted)
			return adm_fail(ADM_USAGE, "give %s; see csvadm %s %s --help",
				c->takes & TAKES_SIZE ? "FILE and SIZE" :
				wanted == 2	      ? "FILE and NEW" :
							"FILE",
				c->object, c->verb);
		adm->file = rest[0];
		adm->new_file = wanted == 2 ? rest[1] : NULL;
		rest += wanted;
		nr -= wanted;
	}
	if (nr && (c->takes & TAKES_VOLUME)) {
		if (adm->volume)
			return adm_fail(ADM_USAGE, "two volumes: \"%s\" and \"%s\"", adm->volume, *rest);
		adm->volume = *rest++, nr--;
	}
	if (nr)
		return adm_fail(ADM_USAGE, "\"%s\" is too much; see csvadm %s%s%s --help", *rest,
			c->object, c->verb ? " " : "", c->verb ? c->verb : "");
	return c->run(adm);
}

int main(int argc, char **argv)
{
	struct adm adm = { .control = "/run/csvfs", .timeout_s = 5.0, .wait_s = 60.0,
		.interval_s = 1.0, .rate_mb = 16.0 };
	struct given given = { 0 };
	int words = 0, code = parse(argc, argv, &adm, &given);

	if (code)
		return code;
	if (given.version) {
		puts(TOOL_VERSION);
		return ADM_OK;
	}
	int nr = argc - optind;
	if (given.help && !nr) {
		fputs(usage, stdout);
		fputs(common, stdout);
		return ADM_OK;
	}
	const struct command *c = find_command(argv + optind, nr, &words);
	if (!c)
		return wrong_command(argv + optind, nr);
	if (given.help) {
		fputs(c->usage, stdout);
		fputs(common, stdout);
		return ADM_OK;
	}
	return run(c, &adm, &given, argv + optind + words, nr - words);
}
