/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/run.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "util/err.h"
#include "util/log.h"
#include "util/loop.h"
#include "vmm/console.h"
#include "vmm/control_socket.h"
#include "vmm/passt.h"

#define MAX_FOUND_NAMES 1000

struct json_object *vmm_event_new(const char *name)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string(name));
	json_object_object_add(
		event, "time_ms", json_object_new_int64((int64_t)(clock_real_ns() / 1000000)));
	return event;
}

static void tell(struct vmm_run *run, const char *name)
{
	vmm_control_event(run->control, vmm_event_new(name));
}

void vmm_run_pause(struct vmm_run *run, const char *reason)
{
	struct json_object *event = vmm_event_new("paused");

	vmm_machine_pause(run->machine);
	snprintf(run->paused, sizeof(run->paused), "%s", reason);
	json_object_object_add(event, "reason", json_object_new_string(reason));
	vmm_control_event(run->control, event);
}

void vmm_run_resume(struct vmm_run *run)
{
	vmm_machine_resume(run->machine);
	run->paused[0] = '\0';
	tell(run, "resumed");
}

static void disk_failed(void *arg, const struct vmm_disk_failure *failure)
{
	struct json_object *event = vmm_event_new("disk-error");
	struct vmm_run *run = arg;
	char reason[sizeof(run->paused)];

	snprintf(reason, sizeof(reason), "%s: %s at %llu: %s", failure->disk, failure->request,
		(unsigned long long)failure->off_bytes, err_str(failure->err));
	json_object_object_add(event, "reason", json_object_new_string(reason));
	json_object_object_add(event, "disk", json_object_new_string(failure->disk));
	json_object_object_add(event, "request", json_object_new_string(failure->request));
	json_object_object_add(
		event, "off_bytes", json_object_new_int64((int64_t)failure->off_bytes));
	json_object_object_add(event, "error", json_object_new_string(err_str(failure->err)));
	vmm_control_event(run->control, event);
	if (run->paused[0])
		return;
	log_error("the machine %s is paused; csvvm resume %s tries again", run->name, run->name);
	vmm_run_pause(run, reason);
}

/* ---- disks that come and go ---- */

static struct json_object *disk_event(const char *name, const char *id, int err)
{
	struct json_object *event = vmm_event_new(name);

	json_object_object_add(event, "disk", json_object_new_string(id));
	if (err)
		json_object_object_add(event, "error", json_object_new_string(err_str(err)));
	return event;
}

int vmm_run_attach_disk(struct vmm_run *run, struct vmm_disk_conf *disk, char **ret_error)
{
	struct vmm_conf *conf = &run->options->conf;
	struct vmm_disk_conf *ours = &conf->disks[conf->nr_disks];
	int err;

	if (conf->nr_disks == VMM_MAX_DISKS) {
		*ret_error = strdup("it has as many disks as there can be");
		return -ENOSPC;
	}
	*ours = *disk;
	if (ours->bus == VMM_BUS_ANY)
		ours->bus = VMM_BUS_SCSI;
	ours->path = ours->own_path = strdup(disk->path);
	if (!ours->path)
		return -ENOMEM;
	conf->nr_disks++;
	err = vmm_options_name_disks(conf, ret_error);
	if (!err)
		err = vmm_disks_attach(vmm_machine_disks(run->machine), ours, true, ret_error);
	if (err) {
		conf->nr_disks--;
		free(ours->own_path);
		return err;
	}
	strcpy(disk->id, ours->id);
	vmm_control_event(run->control, disk_event("disk-attached", disk->id, 0));
	return 0;
}

/* It will not be there after a reboot, either. */
static void disk_gone(void *arg, const char *id, int err)
{
	struct vmm_run *run = arg;
	struct vmm_conf *conf = &run->options->conf;

	for (unsigned int i = 0; i < conf->nr_disks; i++) {
		if (strcmp(conf->disks[i].id, id) != 0)
			continue;
		free(conf->disks[i].own_path);
		conf->nr_disks--;
		memmove(&conf->disks[i], &conf->disks[i + 1],
			sizeof(conf->disks[0]) * (conf->nr_disks - i));
		break;
	}
	vmm_control_event(run->control, disk_event("disk-detached", id, err));
}

static void disk_resized(void *arg, const char *id, int err, uint64_t size_bytes)
{
	struct json_object *event = disk_event("disk-resized", id, err);

	json_object_object_add(event, "size_bytes", json_object_new_int64((int64_t)size_bytes));
	vmm_control_event(((struct vmm_run *)arg)->control, event);
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
	struct vmm_run *run = arg;

	vmm_console_put(run->console, byte);
	/* nobody reads it any more: that is no reason to stop the guest */
	while (!run->options->daemon && write(STDOUT_FILENO, &byte, 1) < 0 && errno == EINTR)
		;
}

/* A byte from the terminal, where Ctrl-A is special. True: it is the guest's. */
static bool filter(void *arg, uint8_t byte)
{
	struct vmm_run *run = arg;

	if (is_raw && !run->escape && byte == 1) {
		run->escape = true;
		return false;
	}
	if (run->escape) {
		run->escape = false;
		if (byte == 'x')
			vmm_machine_kill(run->machine);
		else if (byte == 'p')
			vmm_machine_power_button(run->machine);
		return byte == 1;
	}
	return true;
}

static void on_signal(struct ev_loop *ev, struct ev_signal *watcher, int revents)
{
	struct vmm_run *run = watcher->data;

	if (watcher->signum == SIGTERM && !run->button_pressed) {
		run->button_pressed = true;
		vmm_machine_power_button(run->machine);
	} else {
		vmm_machine_kill(run->machine);
	}
}

/* ---- a daemon ---- */

/* Goes on in a child; who started it waits for `ready`, or prints no more than the child did. */
static int become_daemon(struct vmm_run *run)
{
	int ends[2], status;
	char byte;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return vmm_fail(run->options, -errno, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return vmm_fail(run->options, -errno, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		run->ready_fd = ends[1];
		setsid();
		return 0;
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) == 1)
		_exit(0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : VMM_EXIT_NOT_MADE);
}

/* The machine runs: the starter may go, and the terminal. */
static void daemon_ready(struct vmm_run *run)
{
	int null;

	if (run->options->json)
		printf("{\"name\":\"%s\",\"pid\":%d}\n", run->name, (int)getpid());
	else
		printf("%s\n", run->name);
	fflush(stdout);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		close(null);
	}
	log_detach("csvvm");
	(void)!write(run->ready_fd, "", 1);
	close(run->ready_fd);
	run->ready_fd = -1;
}

/* ---- from start to end, and again where the guest reboots ---- */

static enum vmm_end run_once(struct vmm_run *run, const char **ret_why)
{
	enum vmm_end how = VMM_DIED;
	char *error;
	int err;

	err = vmm_machine_new(&run->options->conf, run->loop, &run->machine, &error);
	if (err) {
		vmm_fail(run->options, err, "%s", error ? error : err_str(err));
		free(error);
		return VMM_RUNS;
	}
	run->paused[0] = '\0';
	vmm_console_set_machine(run->console, run->machine);
	if (!run->options->daemon)
		make_raw();
	err = vmm_machine_start(run->machine);
	if (!err) {
		if (run->ready_fd >= 0)
			daemon_ready(run);
		tell(run, "started");
		while ((how = vmm_machine_end(run->machine, ret_why)) == VMM_RUNS)
			loop_run(run->loop);
	}
	vmm_console_set_machine(run->console, NULL);
	vmm_machine_free(run->machine);
	run->machine = NULL;
	restore_terminal();
	return how;
}

static int run_all(struct vmm_run *run)
{
	const char *why = NULL;
	enum vmm_end how = run_once(run, &why);

	while (how == VMM_RESET && !run->options->no_reboot) {
		run->nr_resets++;
		tell(run, "reset");
		how = run_once(run, &why);
	}
	switch (how) {
	case VMM_POWERED_OFF:
		tell(run, "powered-off");
		return VMM_EXIT_OFF;
	case VMM_RESET:
		tell(run, "reset");
		return VMM_EXIT_OFF;
	case VMM_RUNS:
		tell(run, "died");
		return VMM_EXIT_NOT_MADE;
	case VMM_KILLED:
		tell(run, "killed");
		return VMM_EXIT_KILLED;
	default:
		tell(run, "died");
		log_error("the machine %s died: %s", run->name, why ? why : "no thread for it");
		return VMM_EXIT_DIED;
	}
}

/* ---- making what a machine lives in ---- */

static void attach(void *arg, int fd, const void *bytes, size_t len_bytes)
{
	(void)vmm_console_attach(((struct vmm_run *)arg)->console, fd, bytes, len_bytes);
}

/* Listens under the name that was given, or the first of vm1, vm2 ... that is free. */
static int make_control(struct vmm_run *run)
{
	struct vmm_options *options = run->options;
	struct vmm_control_conf conf = { .loop = run->loop,
		.dir = options->control_dir,
		.name = run->name,
		.commands = vmm_commands,
		.arg = run,
		.console = attach };
	char *error = NULL;
	int err = -EEXIST;

	if (options->name) {
		snprintf(run->name, sizeof(run->name), "%s", options->name);
		err = vmm_control_new(&conf, &run->control, &error);
	}
	for (int i = 1; !options->name && err == -EEXIST && i < MAX_FOUND_NAMES; i++) {
		free(error);
		snprintf(run->name, sizeof(run->name), "vm%d", i);
		err = vmm_control_new(&conf, &run->control, &error);
	}
	if (err)
		vmm_fail(options, err, "%s", error ? error : err_str(err));
	free(error);
	return err;
}

/* They live as long as this process (U1). */
static int start_passts(struct vmm_run *run)
{
	struct vmm_conf *conf = &run->options->conf;
	int err = 0;

	for (unsigned int i = 0; !err && i < conf->nr_nets; i++) {
		struct vmm_net_conf *net = &conf->nets[i];

		if (net->user)
			err = vmm_passt_new(*net->tcp ? net->tcp : NULL,
				*net->udp ? net->udp : NULL, &net->passt);
	}
	return err ? vmm_fail(run->options, err, "cannot start passt: %s%s", err_str(err),
			     err == -ENOENT ? "; install it (Debian: passt)" : "")
		   : 0;
}

static int run_made(struct vmm_run *run)
{
	struct ev_loop *ev = loop_ev(run->loop);
	struct ev_signal sigterm, sigint;
	int rc;

	ev_signal_init(&sigterm, on_signal, SIGTERM);
	ev_signal_init(&sigint, on_signal, SIGINT);
	sigterm.data = sigint.data = run;
	ev_signal_start(ev, &sigterm);
	ev_signal_start(ev, &sigint);
	rc = run_all(run);
	ev_signal_stop(ev, &sigterm);
	ev_signal_stop(ev, &sigint);
	return rc;
}

int vmm_run(struct vmm_options *options)
{
	struct vmm_run run = { .options = options, .ready_fd = -1, .since_ns = clock_real_ns() };
	int rc = VMM_EXIT_NOT_MADE, err = 0;

	options->conf.console = console_out;
	options->conf.disk_failed = disk_failed;
	options->conf.disk_gone = disk_gone;
	options->conf.disk_resized = disk_resized;
	options->conf.arg = &run;
	if (options->daemon && become_daemon(&run) < 0)
		return rc;
	err = loop_new(&run.loop);
	if (!err)
		err = vmm_console_new(run.loop, &run.console);
	if (!err && !options->daemon)
		err = vmm_console_input(run.console, STDIN_FILENO, filter, &run);
	if (err)
		vmm_fail(options, err, "%s", err_str(err));
	else if (make_control(&run) == 0 && start_passts(&run) == 0)
		rc = run_made(&run);
	for (unsigned int i = 0; i < options->conf.nr_disks; i++)
		free(options->conf.disks[i].own_path);
	for (unsigned int i = 0; i < options->conf.nr_nets; i++)
		vmm_passt_free(options->conf.nets[i].passt);
	vmm_control_free(run.control);
	vmm_console_free(run.console);
	loop_free(run.loop);
	return rc;
}
