/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: shows and steers the volumes that are mounted on this node. The command line. */
#include <stdio.h>
#include <string.h>

#include "tools/csvadm_args.h"
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
	"  grow [VOLUME]            take what the device has grown by, while the volume is used\n"
	"  image clone FILE NEW     a copy that shares the space of FILE, in no time\n"
	"  image info FILE          how much of FILE is allocated, shared, in how many pieces\n"
	"  image map FILE           where FILE lies on the volume\n"
	"  image convert FILE NEW   copy a disk image: raw, VHD or VHDX into any of these\n"
	"  image create FILE SIZE   an empty disk image\n"
	"  quota set DIR            limit what DIR and all that is in it may take\n"
	"  quota show DIR           how much that is, and its limit\n"
	"  quota list DIR           all projects of the volume that DIR is on\n"
	"  quota clear DIR          take the limit away again\n"
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

static const struct adm_command commands[] = {
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
	{ "coordinator", "move", false, TAKES_NODE | TAKES_WAIT, adm_coordinator_move,
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
	{ "grow", NULL, true, TAKES_VOLUME | TAKES_TO_SIZE, adm_grow,
		"Usage: csvadm grow [OPTION]... [VOLUME]\n"
		"Make the volume as large as its device, which was enlarged; on any node, while the\n"
		"volume is used. Each node that has it mounted looks at the device's size anew first,\n"
		"and nothing is changed unless all see the new one.\n"
		"\n"
		"  -s, --size=SIZE          grow to SIZE only: bytes, or with k, M, G, T\n" },
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
	{ "quota", "set", false, TAKES_DIR | TAKES_LIMITS, adm_quota_set,
		"Usage: csvadm quota set [OPTION]... DIR\n"
		"Limit what DIR and all that is in it may take, now and later: whoever writes more gets\n"
		"\"Disk quota exceeded\". It becomes a project, by a number; all that is in it is given\n"
		"that number first. What it has already may be more than the limit. For root.\n"
		"\n"
		"  -l, --limit=SIZE         bytes, or with k, M, G, T; 0 = no limit\n"
		"      --files=N            files and directories; 0 = no limit\n"
		"  -p, --project=ID         the project's number; default: DIR's own, or a free one\n" },
	{ "quota", "show", true, TAKES_DIR, adm_quota_show,
		"Usage: csvadm quota show [OPTION]... DIR\n"
		"Show what DIR's project has taken, and its limits.\n" },
	{ "quota", "list", false, TAKES_DIR, adm_quota_list,
		"Usage: csvadm quota list [OPTION]... DIR\n"
		"List the projects of the volume that DIR is on, by number.\n" },
	{ "quota", "clear", false, TAKES_DIR, adm_quota_clear,
		"Usage: csvadm quota clear [OPTION]... DIR\n"
		"Take the limits of DIR's project away, and DIR and all that is in it out of it.\n" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* How many words name the command is told through *ret_words. */
static const struct adm_command *find_command(char *const *words, int nr, int *ret_words)
{
	const struct adm_command *found = NULL;

	for (size_t i = 0; nr && i < NR_COMMANDS; i++) {
		const struct adm_command *c = &commands[i];
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

int main(int argc, char **argv)
{
	struct adm adm = { .control = "/run/csvfs", .timeout_s = 5.0, .wait_s = 60.0,
		.interval_s = 1.0, .rate_mb = 16.0 };
	struct adm_args args = { 0 };
	int nr_named = 0, code = adm_args_parse(argc, argv, &adm, &args);

	if (code)
		return code;
	if (args.version) {
		puts(TOOL_VERSION);
		return ADM_OK;
	}
	if (args.help && !args.nr_words) {
		fputs(usage, stdout);
		fputs(common, stdout);
		return ADM_OK;
	}
	const struct adm_command *c = find_command(args.words, args.nr_words, &nr_named);
	if (!c)
		return wrong_command(args.words, args.nr_words);
	if (args.help) {
		fputs(c->usage, stdout);
		fputs(common, stdout);
		return ADM_OK;
	}
	args.words += nr_named;
	args.nr_words -= nr_named;
	code = adm_args_fit(&args, c, commands, NR_COMMANDS, &adm);
	return code ? code : c->run(&adm);
}
