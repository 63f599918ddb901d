/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvvm: runs a virtual machine. The command line, the terminal, signals. */
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/err.h"
#include "util/log.h"
#include "util/loop.h"
#include "vmm/machine.h"

enum exit_code { EXIT_DIED = 1, EXIT_USAGE = 2, EXIT_NOT_MADE = 3, EXIT_KILLED = 4 };

static const char usage[] =
	"Usage: csvvm run [OPTION]...\n"
	"Run a virtual machine on KVM, its serial console on this terminal.\n"
	"\n"
	"  -k, --kernel=FILE        the Linux kernel to boot (bzImage); needed\n"
	"  -i, --initrd=FILE        its initial RAM disk\n"
	"  -a, --append=TEXT        its command line, e.g. \"console=ttyS0 root=/dev/vda\"\n"
	"  -m, --memory=SIZE        memory; default 512M. Suffixes k, M, G, T\n"
	"  -c, --cpus=N             virtual CPUs, 1 to 64; default 1\n"
	"  -d, --disk=FILE[,ro][,queues=N]\n"
	"                           an image, a block device or a device's URI; up to 24 of them,\n"
	"                           /dev/vda, /dev/vdb ... in the guest\n"
	"  -n, --no-reboot          end where the guest reboots\n"
	"  -v, --verbose            tell more\n"
	"  -h, --help               show this text\n"
	"  -V, --version            show the version\n"
	"\n"
	"On a terminal, Ctrl-A x ends the machine at once, Ctrl-A p presses its power button,\n"
	"Ctrl-A Ctrl-A is Ctrl-A. SIGTERM presses the power button, the second one ends it.\n"
	"\n"
	"Exit status: 0 the guest powered off, 1 the machine died, 2 wrong usage, 3 it could not\n"
	"be made, 4 it was ended from outside.\n";

static const struct option options[] = {
	{ "kernel", 1, NULL, 'k' },
	{ "initrd", 1, NULL, 'i' },
	{ "append", 1, NULL, 'a' },
	{ "memory", 1, NULL, 'm' },
	{ "cpus", 1, NULL, 'c' },
	{ "disk", 1, NULL, 'd' },
	{ "no-reboot", 0, NULL, 'n' },
	{ "verbose", 0, NULL, 'v' },
	{ "help", 0, NULL, 'h' },
	{ "version", 0, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

struct app {
	struct vmm_conf conf;
	bool no_reboot;
	struct loop *loop;
	struct vmm_machine *machine;
	struct ev_io input;
	struct ev_timer retry; /* while the guest's serial port is full */
	struct ev_signal sigterm, sigint;
	bool escape, button_pressed;
	size_t nr_typed; /* bytes that wait for room */
	uint8_t typed[256];
};

/* ---- the command line ---- */

static int parse_size(const char *text, uint64_t *ret_bytes)
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

static int parse_number(const char *text, unsigned int max, unsigned int *ret_n)
{
	char *rest;
	unsigned long n = strtoul(text, &rest, 10);

	if (*rest || rest == text || n < 1 || n > max)
		return -EINVAL;
	*ret_n = (unsigned int)n;
	return 0;
}

/* "FILE,ro,queues=2"; cuts text. */
static int parse_disk(struct vmm_conf *conf, char *text)
{
	struct vmm_disk_conf *disk = &conf->disks[conf->nr_disks];
	char *word = strchr(text, ',');

	if (conf->nr_disks == VMM_MAX_DISKS)
		return -ENOSPC;
	*disk = (struct vmm_disk_conf){ .path = text };
	while (word) {
		*word++ = '\0';
		char *next = strchr(word, ',');

		if (next)
			*next = '\0';
		if (strcmp(word, "ro") == 0)
			disk->readonly = true;
		else if (strncmp(word, "queues=", 7) != 0 ||
			 parse_number(word + 7, VMM_MAX_CPUS, &disk->nr_queues) < 0)
			return -EINVAL;
		word = next;
	}
	conf->nr_disks++;
	return 0;
}

static int wrong(const char *what, const char *text)
{
	fprintf(stderr, "csvvm: %s%s (csvvm --help)\n", what, text);
	return -EINVAL;
}

static int set_option(struct app *app, int opt)
{
	struct vmm_conf *conf = &app->conf;

	switch (opt) {
	case 'k':
		conf->boot.kernel = optarg;
		return 0;
	case 'i':
		conf->boot.initrd = optarg;
		return 0;
	case 'a':
		conf->boot.cmdline = optarg;
		return 0;
	case 'm':
		if (parse_size(optarg, &conf->memory_bytes) < 0 || conf->memory_bytes < 32 << 20 ||
			conf->memory_bytes % 4096 != 0)
			return wrong("not a size of at least 32M: ", optarg);
		return 0;
	case 'c':
		if (parse_number(optarg, VMM_MAX_CPUS, &conf->nr_cpus) < 0)
			return wrong("not a number of CPUs from 1 to 64: ", optarg);
		return 0;
	case 'd':
		if (parse_disk(conf, optarg) < 0)
			return wrong("not FILE[,ro][,queues=N], or too many: ", optarg);
		return 0;
	case 'n':
		app->no_reboot = true;
		return 0;
	case 'v':
		log_set_level(LOG_LVL_DEBUG);
		return 0;
	default:
		return wrong("wrong usage", "");
	}
}

/* 0 = run, 1 = it was a question that is answered, negative = wrong. */
static int parse(struct app *app, int argc, char **argv)
{
	int opt, err;

	app->conf.memory_bytes = 512 << 20;
	app->conf.nr_cpus = 1;
	while ((opt = getopt_long(argc, argv, "k:i:a:m:c:d:nvhV", options, NULL)) != -1) {
		if (opt == 'h' || opt == 'V') {
			fputs(opt == 'h' ? usage : "csvvm (csvfs) " CSVFS_VERSION "\n", stdout);
			return 1;
		}
		err = set_option(app, opt);
		if (err)
			return err;
	}
	if (optind != argc - 1 || strcmp(argv[optind], "run") != 0)
		return wrong("the command is ", "run");
	if (!app->conf.boot.kernel)
		return wrong("which kernel? ", "--kernel is needed");
	return 0;
}

/* ---- the terminal ---- */

static struct termios old_termios;
static bool is_raw;

static void make_raw(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &old_termios) < 0)
		return;
	raw = old_termios;
	cfmakeraw(&raw);
	is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void restore_terminal(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &old_termios);
	is_raw = false;
}

static void console_out(void *arg, uint8_t byte)
{
	/* nobody reads it any more: that is no reason to stop the guest */
	while (write(STDOUT_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
}

/* What the guest's port has no room for waits, and with it the rest of the input. */
static void type(struct app *app)
{
	size_t taken = vmm_machine_type(app->machine, app->typed, app->nr_typed);

	app->nr_typed -= taken;
	memmove(app->typed, app->typed + taken, app->nr_typed);
	if (app->nr_typed > 0) {
		ev_io_stop(loop_ev(app->loop), &app->input);
		ev_timer_again(loop_ev(app->loop), &app->retry);
	} else {
		ev_timer_stop(loop_ev(app->loop), &app->retry);
		ev_io_start(loop_ev(app->loop), &app->input);
	}
}

static void on_retry(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	type(timer->data);
}

/* A byte from a terminal, where Ctrl-A is special. */
static void filter(struct app *app, uint8_t byte)
{
	if (is_raw && !app->escape && byte == 1) {
		app->escape = true;
		return;
	}
	if (app->escape) {
		app->escape = false;
		if (byte == 'x')
			vmm_machine_kill(app->machine);
		else if (byte == 'p')
			vmm_machine_power_button(app->machine);
		if (byte != 1)
			return;
	}
	app->typed[app->nr_typed++] = byte;
}

static void on_input(struct ev_loop *ev, struct ev_io *watcher, int revents)
{
	struct app *app = watcher->data;
	uint8_t bytes[sizeof(app->typed)];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		ev_io_stop(ev, watcher);
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		filter(app, bytes[i]);
	type(app);
}

static void on_signal(struct ev_loop *ev, struct ev_signal *watcher, int revents)
{
	struct app *app = watcher->data;

	if (watcher->signum == SIGTERM && !app->button_pressed) {
		app->button_pressed = true;
		vmm_machine_power_button(app->machine);
	} else {
		vmm_machine_kill(app->machine);
	}
}

/* ---- from start to end, and again where the guest reboots ---- */

static enum vmm_end run_once(struct app *app, const char **ret_why)
{
	enum vmm_end how = VMM_DIED;
	char *error;
	int err;

	err = vmm_machine_new(&app->conf, app->loop, &app->machine, &error);
	if (err) {
		fprintf(stderr, "csvvm: %s\n", error ? error : err_str(err));
		free(error);
		return VMM_RUNS;
	}
	make_raw();
	ev_io_start(loop_ev(app->loop), &app->input);
	err = vmm_machine_start(app->machine);
	if (!err) {
		while ((how = vmm_machine_end(app->machine, ret_why)) == VMM_RUNS)
			loop_run(app->loop);
	}
	ev_io_stop(loop_ev(app->loop), &app->input);
	ev_timer_stop(loop_ev(app->loop), &app->retry);
	vmm_machine_free(app->machine);
	app->machine = NULL;
	restore_terminal();
	return how;
}

static int run(struct app *app)
{
	const char *why = NULL;
	enum vmm_end how;

	do {
		how = run_once(app, &why);
	} while (how == VMM_RESET && !app->no_reboot);
	switch (how) {
	case VMM_POWERED_OFF:
	case VMM_RESET:
		return 0;
	case VMM_RUNS:
		return EXIT_NOT_MADE;
	case VMM_KILLED:
		return EXIT_KILLED;
	default:
		fprintf(stderr, "csvvm: the machine died: %s\n", why ? why : "no thread for it");
		return EXIT_DIED;
	}
}

int main(int argc, char **argv)
{
	struct app app = { .conf.console = console_out };
	int rc = parse(&app, argc, argv);

	if (rc)
		return rc < 0 ? EXIT_USAGE : 0;
	log_dump_on_crash();
	signal(SIGPIPE, SIG_IGN);
	rc = loop_new(&app.loop);
	if (rc) {
		fprintf(stderr, "csvvm: %s\n", err_str(rc));
		return EXIT_NOT_MADE;
	}
	ev_io_init(&app.input, on_input, STDIN_FILENO, EV_READ);
	ev_timer_init(&app.retry, on_retry, 0, 0.02);
	ev_signal_init(&app.sigterm, on_signal, SIGTERM);
	ev_signal_init(&app.sigint, on_signal, SIGINT);
	app.input.data = app.retry.data = app.sigterm.data = app.sigint.data = &app;
	ev_signal_start(loop_ev(app.loop), &app.sigterm);
	ev_signal_start(loop_ev(app.loop), &app.sigint);
	rc = run(&app);
	ev_signal_stop(loop_ev(app.loop), &app.sigterm);
	ev_signal_stop(loop_ev(app.loop), &app.sigint);
	loop_free(app.loop);
	return rc;
}
