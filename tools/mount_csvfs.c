/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mount.csvfs: mounts a volume and serves it until it is unmounted. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "csvfs/volume/volume.h"
#include "tools/mount_remount.h"
#include "tools/tool.h"
#include "util/log.h"

static const char usage[] =
	"Usage: mount.csvfs DEVICE DIRECTORY [-f] [-v] [-o OPTION[,OPTION]...]\n"
	"Mount a csvfs volume; 'mount -t csvfs' and /etc/fstab come here. Goes to the background when\n"
	"the volume serves, and prints nothing then.\n"
	"\n"
	"  -f, --foreground     stay in the foreground\n"
	"  -v, --verbose        print what happens (repeat for more)\n"
	"  -o OPTIONS           mount options, separated by commas:\n"
	"       key=FILE          the volume key; default /etc/csvfs/UUID.key\n"
	"       single            this node alone, without Corosync\n"
	"       auth=FILE         user%password of the device, in a file of mode 0600\n"
	"       initiator=NAME    iSCSI initiator name\n"
	"       workers=N         I/O threads; default: one for each CPU, at most 4\n"
	"       io_timeout=SECS   give up I/O that the device has not done by then;\n"
	"                         default: wait for ever\n"
	"       control=DIR       where the control socket is; default /run/csvfs\n"
	"       recall=SECS       evict a node that does not answer by then; default 10\n"
	"       lease=SECS        lease of devices without persistent reservations; default 8\n"
	"       ro                read-only; the node still takes part in the cluster\n"
	"       noallow_other     only for the user who mounts\n"
	"       debug             print each FUSE request (with -f)\n"
	"       strictatime       each read shows in the access time\n"
	"       relatime          only one that tells something new (the default)\n"
	"       dev               and suid, exec, noatime, sync, dirsync and what negates them:\n"
	"                         as in mount(8)\n"
	"       context=LABEL     and fscontext, defcontext, rootcontext: as in mount(8)\n"
	"       remount           change ro, rw and these flags of what is mounted on DIRECTORY\n"
	"     defaults, rw, auto, noauto, _netdev, nofail, user options of mount(8) are accepted.\n"
	"  -h, --help           show this text\n"
	"  -V, --version        show the version\n"
	"\n"
	"Exit status: 0 mounted, 1 failed, 2 wrong usage.\n";

/* The parent waits here for one byte (it serves) or the end of the pipe (it failed). */
static int ready_fd = -1;

/* systemd's readiness protocol (sd_notify(3)): a datagram to $NOTIFY_SOCKET. */
static void tell_systemd(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, strlen(path));
	if (path[0] == '@')
		addr.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	static const char text[] = "READY=1\nSTATUS=serving";
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (sendto(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&addr, len) < 0)
		log_warn("readiness was not told to systemd: %s", strerror(errno));
	close(fd);
}

static void ready(void *arg)
{
	tell_systemd();
	if (ready_fd < 0)
		return;
	log_detach("csvfs");
	if (write(ready_fd, "1", 1) != 1)
		log_debug("nobody waits for readiness");
	close(ready_fd);
	ready_fd = -1;
}

static void on_signal(int sig)
{
	volume_stop();
}

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "mount.csvfs: %s: \"%s\"; see mount.csvfs --help\n", what, value);
	return 2;
}

static int parse_number(const char *text, uint32_t scale, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n > 1000000)
		return -EINVAL;
	*ret = (uint32_t)n * scale;
	return 0;
}

/* Options that other parts of mounting have dealt with. */
static bool is_foreign(const char *name)
{
	static const char *const names[] = { "defaults", "rw", "auto", "noauto", "_netdev", "nofail",
		"user", "users", "nouser", "owner", "group", "nodiratime" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return !strncmp(name, "x-", 2) || !strncmp(name, "comment", 7);
}

/* Options that the kernel heeds. */
static bool is_flag(const char *name)
{
	static const char *const names[] = { "dev", "nodev", "suid", "nosuid", "exec", "noexec",
		"noatime", "async", "sync", "dirsync" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int add_flag(struct volume_cfg *cfg, const char *name)
{
	static char flags[256]; /* the last of a pair counts, as with mount(8) */
	size_t len = strlen(flags);

	if (len + strlen(name) + 2 > sizeof(flags))
		return wrong("too many mount options", name);
	sprintf(flags + len, "%s%s", len ? "," : "", name);
	cfg->mount_flags = flags;
	return 0;
}

/* Labels of SELinux for all files: the kernel takes them, or refuses to mount. */
static bool is_context(const char *name)
{
	static const char *const names[] = { "context", "fscontext", "defcontext", "rootcontext" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

static int parse_option(struct volume_cfg *cfg, char *name)
{
	char *value = strchr(name, '=');
	uint32_t *number = NULL, scale = 1000;

	if (value)
		*value++ = 0;
	if (!value && !strcmp(name, "single"))
		cfg->single = true;
	else if (!value && !strcmp(name, "ro"))
		cfg->readonly = true;
	else if (!value && (!strcmp(name, "strictatime") || !strcmp(name, "relatime")))
		cfg->strictatime = name[0] == 's';
	else if (!value && !strcmp(name, "debug"))
		cfg->fuse_debug = true;
	else if (!value && !strcmp(name, "allow_other"))
		cfg->allow_other = true;
	else if (!value && !strcmp(name, "noallow_other"))
		cfg->allow_other = false;
	else if (!value && !strcmp(name, "test_no_fence")) /* twins of tests only */
		cfg->no_fence = true;
	else if (!value && !strcmp(name, "test_no_recall"))
		cfg->no_recall = true;
	else if (!value && !strcmp(name, "test_no_purge"))
		cfg->no_purge = true;
	else if (value && !strcmp(name, "key"))
		cfg->key_file = value;
	else if (value && !strcmp(name, "auth"))
		cfg->auth_file = value;
	else if (value && !strcmp(name, "initiator"))
		cfg->initiator = value;
	else if (value && !strcmp(name, "control"))
		cfg->control_dir = value;
	else if (value && !strcmp(name, "workers"))
		number = &cfg->nr_workers, scale = 1;
	else if (value && !strcmp(name, "io_timeout"))
		number = &cfg->transport_timeout_ms;
	else if (value && !strcmp(name, "recall"))
		number = &cfg->recall_ms;
	else if (value && !strcmp(name, "lease"))
		number = &cfg->lease_ms;
	else if (!value && is_flag(name))
		return add_flag(cfg, name);
	else if (value && is_context(name)) {
		value[-1] = '=';
		return add_flag(cfg, name);
	}
	else if (!is_foreign(name))
		return wrong("unknown mount option", name);
	if (number && parse_number(value, scale, number))
		return wrong("not a number", value);
	return 0;
}

static void shut_down(void *arg)
{
	_exit(1);
}

static int serve(const struct volume_cfg *cfg)
{
	struct sigaction sa = { .sa_handler = on_signal };
	char *why = NULL;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	log_dump_on_crash();
	int err = volume_run(cfg, &why);
	if (err)
		fprintf(stderr, "mount.csvfs: %s\n", why ? why : strerror(-err));
	free(why);
	return err ? 1 : 0;
}

/* The child serves; the parent ends with 0 when it does. The child's errors go to our standard error
 * until then. */
static int background(const struct volume_cfg *cfg)
{
	int fds[2];
	char byte;

	if (pipe2(fds, O_CLOEXEC)) {
		perror("mount.csvfs: pipe");
		return 1;
	}
	pid_t pid = fork();
	if (pid < 0) {
		perror("mount.csvfs: fork");
		return 1;
	}
	if (pid == 0) {
		close(fds[0]);
		ready_fd = fds[1];
		setsid();
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null >= 0) {
			dup2(null, STDIN_FILENO);
			dup2(null, STDOUT_FILENO);
		}
		exit(serve(cfg));
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) == 1)
		return 0;
	int status = 0;
	waitpid(pid, &status, 0);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option longopts[] = { { "foreground", 0, NULL, 'f' },
		{ "verbose", 0, NULL, 'v' }, { "help", 0, NULL, 'h' }, { "version", 0, NULL, 'V' },
		{ NULL, 0, NULL, 0 } };
	struct volume_cfg cfg = { .allow_other = geteuid() == 0, .ready = ready,
		.shutdown = shut_down };
	bool foreground = false, again = false;
	unsigned long flags = 0;
	int c, level = LOG_LVL_WARN;
	char *one, *state = NULL;

	/* -n, -s, -t TYPE come from mount(8) */
	while ((c = getopt_long(argc, argv, "fvo:nst:hV", longopts, NULL)) != -1) {
		switch (c) {
		case 'f':
			foreground = true;
			break;
		case 'v':
			level++;
			break;
		case 'o':
			again = again || remount_asked(optarg);
			for (one = strtok_r(optarg, ",", &state); one;
				one = strtok_r(NULL, ",", &state)) {
				(void)remount_flag(one, &flags);
				/* Of a remount, mount(8) hands on all that is in force. */
				int err = again ? 0 : parse_option(&cfg, one);
				if (err)
					return err;
			}
			break;
		case 'n':
		case 's':
		case 't':
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts(TOOL_VERSION);
			return 0;
		default:
			fputs("Try 'mount.csvfs --help'.\n", stderr);
			return 2;
		}
	}
	if (argc - optind != 2) {
		fputs("mount.csvfs: give a device and a directory; see mount.csvfs --help\n", stderr);
		return 2;
	}
	static char mountpoint[PATH_MAX];
	struct stat st;
	cfg.uri = argv[optind];
	cfg.mountpoint = realpath(argv[optind + 1], mountpoint);
	if (!cfg.mountpoint || stat(cfg.mountpoint, &st) || !S_ISDIR(st.st_mode)) {
		fprintf(stderr, "mount.csvfs: %s: no such directory; make it first\n",
			argv[optind + 1]);
		return 1;
	}
	if (again)
		return remount(cfg.mountpoint, flags);
	cfg.second = !foreground && geteuid() == 0;
	log_set_level((enum log_level)level);
	return foreground ? serve(&cfg) : background(&cfg);
}
