/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvvm: runs virtual machines, and speaks to those that run. The command line. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"
#include "vmm/client.h"
#include "vmm/control_socket.h"
#include "vmm/options.h"
#include "vmm/run.h"

static const char usage[] =
	"Usage: csvvm COMMAND [OPTION]... [FILE|NAME [DISK|SIZE]]\n"
	"Run virtual machines on KVM, and steer those that run.\n"
	"\n"
	"  run [FILE]               run a machine, as the JSON object in FILE says and the options\n"
	"  list                     the machines that run here\n"
	"  info NAME                what it is made of, and how it is\n"
	"  console NAME             its serial console; Ctrl-A d detaches\n"
	"  events NAME              what happens to it, a line an event\n"
	"  pause NAME               stop its CPUs\n"
	"  resume NAME              let them go on, and try again what storage has failed\n"
	"  stop NAME                press its power button, and wait until it is off\n"
	"  kill NAME                end it at once\n"
	"  attach-disk NAME FILE[,ro][,id=ID][,on-error=pause|report]\n"
	"                           give it another disk, on its SCSI controller; prints its id\n"
	"  detach-disk NAME ID      have its guest let go of a SCSI disk, and wait for that\n"
	"  resize-disk NAME ID      look at a disk's size anew, and tell the guest\n"
	"  balloon NAME SIZE        have the guest keep so much of its memory, and give up the rest\n"
	"\n"
	"  -k, --kernel=FILE        run: the kernel to boot (bzImage, or ELF with PVH); needed\n"
	"  -i, --initrd=FILE        run: its initial RAM disk\n"
	"  -a, --append=TEXT        run: its command line, \"console=ttyS0 root=/dev/vda\"\n"
	"  -m, --memory=SIZE        run: memory; default 512M. Suffixes k, M, G, T\n"
	"  -c, --cpus=N             run: virtual CPUs, 1 to 64; default 1\n"
	"  -d, --disk=FILE[,ro][,bus=blk|scsi][,id=ID][,queues=N][,on-error=pause|report]\n"
	"                           run: an image, a block device or a device's URI; up to 24 of\n"
	"                           them, /dev/vda, /dev/vdb ... in the guest, and with bus=scsi\n"
	"                           up to 256, /dev/sda ... When storage fails, pause (the\n"
	"                           default), or report it to the guest\n"
	"  -t, --net=tap=NAME[,mac=ADDRESS][,queues=N]\n"
	"                           run: a network card on a tap device; up to 4 of them\n"
	"      --net=user[,mac=ADDRESS][,tcp=PORTS][,udp=PORTS]\n"
	"                           run: a network card that needs no rights; PORTS such as 2222:22\n"
	"  -N, --name=NAME          run: its name; default: the first free one of vm1, vm2 ...\n"
	"  -n, --no-reboot          run: end where the guest reboots\n"
	"  -b, --daemon             run: in the background, once it has started; prints its name\n"
	"  -v, --verbose            run: tell more\n"
	"  -w, --wait=SECS          stop, kill, detach-disk, resize-disk: give up waiting for it;\n"
	"                           default 60\n"
	"  -f, --force              detach-disk: take it away, whatever the guest does with it\n"
	"  -s, --size=SIZE          resize-disk: first make its image file so large\n"
	"  -C, --control=DIR        folder of the control sockets; default /run/csvvm for root,\n"
	"                           $XDG_RUNTIME_DIR/csvvm for others\n"
	"  -j, --json               print JSON, an object a line\n"
	"  -h, --help               show this text\n"
	"  -V, --version            show the version\n"
	"\n"
	"On a terminal, Ctrl-A x ends the machine at once, Ctrl-A p presses its power button,\n"
	"Ctrl-A Ctrl-A is Ctrl-A. SIGTERM presses the power button, the second one ends it.\n"
	"\n"
	"Exit status of run: 0 the guest powered off, 1 the machine died, 2 wrong usage, 3 it could\n"
	"not be made, 4 it was ended from outside. Of the others: 0 done, 1 failed or refused,\n"
	"2 wrong usage, 3 no such machine runs, 4 not permitted, 5 it does not answer.\n";

static const struct command {
	const char *name;
	unsigned int takes; /* options */
	bool needs_name;
	const char *needs; /* behind the name; or NULL */
	int (*run)(const struct vmm_options *options); /* NULL: run */
} commands[] = {
	{ "run", VMM_FOR_RUN, false, NULL, NULL },
	{ "list", 0, false, NULL, vmm_client_list },
	{ "info", 0, true, NULL, vmm_client_info },
	{ "console", 0, true, NULL, vmm_client_console },
	{ "events", 0, true, NULL, vmm_client_events },
	{ "pause", 0, true, NULL, vmm_client_simple },
	{ "resume", 0, true, NULL, vmm_client_simple },
	{ "stop", VMM_FOR_WAIT, true, NULL, vmm_client_end },
	{ "kill", VMM_FOR_WAIT, true, NULL, vmm_client_end },
	{ "attach-disk", 0, true, "file", vmm_client_attach },
	{ "detach-disk", VMM_FOR_WAIT | VMM_FOR_DETACH, true, "disk's id", vmm_client_detach },
	{ "resize-disk", VMM_FOR_WAIT | VMM_FOR_RESIZE, true, "disk's id", vmm_client_resize },
	{ "balloon", 0, true, "size", vmm_client_balloon },
};

static int check(const struct vmm_options *options, const struct command *command)
{
	const char *name = options->operand;

	if (options->argument && !command->needs)
		return vmm_fail(
			options, -EINVAL, "what is \"%s\"? (csvvm --help)", options->argument);
	if (!command->run) {
		if (!options->conf.boot.kernel)
			return vmm_fail(options, -EINVAL,
				"which kernel? --kernel, or \"kernel\" in a file (csvvm --help)");
		return 0;
	}
	if (command->needs_name && !name)
		return vmm_fail(options, -EINVAL, "csvvm %s wants a machine's name (csvvm list)",
			command->name);
	if (command->needs && !options->argument)
		return vmm_fail(options, -EINVAL,
			"csvvm %s wants a %s behind the name (csvvm --help)", command->name,
			command->needs);
	if (!command->needs_name && name)
		return vmm_fail(options, -EINVAL, "what is \"%s\"? (csvvm --help)", name);
	if (name && !vmm_name_ok(name))
		return vmm_fail(options, -EINVAL, "\"%s\" is not a machine's name", name);
	return 0;
}

static int find_control(struct vmm_options *options, char *dir, size_t room_bytes)
{
	if (options->control_dir)
		return 0;
	if (vmm_socket_dir(dir, room_bytes) < 0)
		return vmm_fail(options, -ENOENT,
			"where are control sockets? XDG_RUNTIME_DIR is not set; name a folder with "
			"--control");
	options->control_dir = dir;
	return 0;
}

static int run(struct vmm_options *options, int argc, char **argv)
{
	const struct command *command = NULL;
	char dir[PATH_MAX];

	for (size_t i = 0; options->command && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, options->command) == 0)
			command = &commands[i];
	}
	if (!command)
		return vmm_fail(options, VMM_EXIT_USAGE, "which command? (csvvm --help)");
	options->wait_s = 60;
	if (vmm_options_end(options, command->takes, command->run ? NULL : options->operand, argc,
		    argv) < 0 ||
		check(options, command) < 0)
		return VMM_EXIT_USAGE;
	if (find_control(options, dir, sizeof(dir)) < 0)
		return VMM_EXIT_NOT_MADE;
	return command->run ? command->run(options) : vmm_run(options);
}

int main(int argc, char **argv)
{
	struct vmm_options options;
	int rc;

	if (vmm_options_begin(&options, argc, argv) < 0)
		return VMM_EXIT_USAGE;
	if (options.help || options.version) {
		fputs(options.help ? usage : "csvvm (csvfs) " CSVFS_VERSION "\n", stdout);
		return 0;
	}
	log_dump_on_crash();
	signal(SIGPIPE, SIG_IGN);
	rc = run(&options, argc, argv);
	vmm_options_free(&options);
	return rc;
}
