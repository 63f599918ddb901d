/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: the control sockets (csvfs/volume/control.c), and the volumes behind them. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/csvadm.h"

#define ANSWER_MAX_BYTES (64u << 20)

int adm_fail(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("csvadm: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* ---- one request ---- */

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int connect_to(const char *path, double timeout_s, pid_t *ret_pid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = (time_t)timeout_s,
		.tv_usec = (suseconds_t)((timeout_s - (double)(time_t)timeout_s) * 1e6) };
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* also bounds the connect, which waits while a hung process's backlog is full */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = errno == EAGAIN ? -ETIMEDOUT : -errno;
		close(fd);
		return err;
	}
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		*ret_pid = cred.pid;
	return fd;
}

/* Reads up to the end of the connection: the server closes it behind its one line. */
static int read_answer(int fd, double end_s, char **ret, size_t *ret_len)
{
	size_t len = 0, room = 0;
	char *text = NULL;
	int err = 0;

	while (!err) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		double left_s = end_s - now_s();
		if (len == room) {
			room = room ? room * 2 : 16384;
			char *more = room > ANSWER_MAX_BYTES ? NULL : realloc(text, room);
			if (!more) {
				err = -ENOMEM;
				break;
			}
			text = more;
		}
		int n = left_s <= 0 ? 0 : poll(&p, 1, (int)(left_s * 1000) + 1);
		if (n == 0)
			err = -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			err = -errno;
		if (n <= 0)
			continue;
		ssize_t got = read(fd, text + len, room - len);
		if (got == 0)
			break;
		if (got < 0 && errno != EINTR)
			err = -errno;
		len += got > 0 ? (size_t)got : 0;
	}
	if (err) {
		free(text);
		return err;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

int adm_ask(const char *path, const char *request, double timeout_s, pid_t *ret_pid,
	struct json_object **ret)
{
	double end_s = now_s() + timeout_s;
	size_t len = strlen(request);
	char *text = NULL;

	int fd = connect_to(path, timeout_s, ret_pid);
	if (fd < 0)
		return fd;
	ssize_t n = send(fd, request, len, MSG_NOSIGNAL);
	int err = n == (ssize_t)len ? 0 : n < 0 && errno != EAGAIN ? -errno : -ETIMEDOUT;
	if (!err)
		err = read_answer(fd, end_s, &text, &len);
	close(fd);
	if (err)
		return err;
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o = tok ? json_tokener_parse_ex(tok, text, (int)len) : NULL;
	json_tokener_free(tok);
	free(text);
	if (!o || !json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return -EPROTO;
	}
	*ret = o;
	return 0;
}

/* ---- volumes ---- */

static enum adm_state state_of(int err)
{
	switch (err) {
	case 0:
		return ADM_SERVES;
	case -EACCES:
	case -EPERM:
		return ADM_FORBIDDEN;
	case -ETIMEDOUT:
		return ADM_HUNG;
	case -ENOENT:
		return ADM_GONE;
	default: /* -ECONNREFUSED, or it died while we asked */
		return ADM_DEAD;
	}
}

static int by_mountpoint(const void *a, const void *b)
{
	const struct adm_vol *x = a, *y = b;
	char left[512];

	snprintf(left, sizeof(left), "%s", adm_str(x->status, "volume/mountpoint"));
	int diff = strcmp(left, adm_str(y->status, "volume/mountpoint"));
	return diff ? diff : strcmp(x->uuid, y->uuid);
}

int adm_vols(const struct adm *adm, struct adm_vol **ret_vols, size_t *ret_nr)
{
	DIR *dir = opendir(adm->control);
	struct dirent *e;

	*ret_vols = NULL;
	*ret_nr = 0;
	if (!dir && errno == EACCES)
		return adm_fail(ADM_DENIED, "%s: not permitted; be root (sudo csvadm ...)",
			adm->control);
	while (dir && (e = readdir(dir))) {
		char *end = strrchr(e->d_name, '.');
		if (!end || strcmp(end, ".sock"))
			continue;
		struct adm_vol *more = realloc(*ret_vols, (*ret_nr + 1) * sizeof(**ret_vols));
		if (!more) {
			closedir(dir);
			return adm_fail(ADM_FAILED, "out of memory");
		}
		*ret_vols = more;
		struct adm_vol *vol = &more[*ret_nr];
		memset(vol, 0, sizeof(*vol));
		snprintf(vol->path, sizeof(vol->path), "%s/%s", adm->control, e->d_name);
		snprintf(vol->uuid, sizeof(vol->uuid), "%.*s", (int)(end - e->d_name), e->d_name);
		vol->state = state_of(adm_ask(vol->path, "{\"cmd\":\"status\"}\n", adm->timeout_s,
			&vol->pid, &vol->status));
		if (vol->state != ADM_GONE)
			++*ret_nr;
	}
	if (dir)
		closedir(dir);
	if (*ret_nr)
		qsort(*ret_vols, *ret_nr, sizeof(**ret_vols), by_mountpoint);
	return ADM_OK;
}

void adm_vol_done(struct adm_vol *vol)
{
	json_object_put(vol->status);
	vol->status = NULL;
}

void adm_vols_free(struct adm_vol *vols, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		adm_vol_done(&vols[i]);
	free(vols);
}

int adm_vol_complain(const struct adm *adm, const struct adm_vol *vol)
{
	switch (vol->state) {
	case ADM_SERVES:
		return ADM_OK;
	case ADM_FORBIDDEN:
		return adm_fail(ADM_DENIED,
			"volume %s: not permitted; be root, or the user who mounted it", vol->uuid);
	case ADM_HUNG:
		return adm_fail(ADM_NO_ANSWER,
			"volume %s: its mount process (pid %d) did not answer within %.3g s; it is "
			"stopped, or stuck: 'ps -o stat,wchan -p %d' shows which. Killing it makes "
			"the other nodes take over what it held; then umount -l, and mount again",
			vol->uuid, (int)vol->pid, adm->timeout_s, (int)vol->pid);
	case ADM_GONE:
		return adm_fail(ADM_NO_VOLUME, "volume %s was unmounted", vol->uuid);
	case ADM_DEAD:
		break;
	}
	return adm_fail(ADM_NO_VOLUME,
		"volume %s: its mount process has died; 'findmnt -t fuse.csvfs' shows what it left: "
		"umount -l that, and mount again (or remove %s)",
		vol->uuid, vol->path);
}

int adm_no_volume(const struct adm *adm)
{
	return adm_fail(ADM_NO_VOLUME, "no csvfs volume is mounted here (no socket in %s); mount one: "
		"mount -t csvfs DEVICE DIRECTORY", adm->control);
}

/* /csv/lab and /csv/lab/ are one; the path itself is not touched, it may hang (A1). */
static bool same_path(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);

	while (la > 1 && a[la - 1] == '/')
		la--;
	while (lb > 1 && b[lb - 1] == '/')
		lb--;
	return la == lb && !strncmp(a, b, la);
}

static bool matches(const struct adm_vol *vol, const char *name)
{
	return !strcasecmp(vol->uuid, name) || same_path(name, adm_str(vol->status, "volume/mountpoint")) ||
		(name[0] && !strcmp(name, adm_str(vol->status, "volume/label"))) ||
		!strcmp(name, adm_str(vol->status, "volume/device"));
}

static void list_choices(const struct adm_vol *vols, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (vols[i].state == ADM_SERVES)
			fprintf(stderr, "  %s  (label \"%s\", %s)\n",
				adm_str(vols[i].status, "volume/mountpoint"),
				adm_str(vols[i].status, "volume/label"), vols[i].uuid);
}

static int pick(const struct adm *adm, struct adm_vol *vols, size_t nr, struct adm_vol **ret)
{
	struct adm_vol *found = NULL, *sick = NULL;
	size_t hits = 0;

	for (size_t i = 0; i < nr; i++) {
		if (vols[i].state != ADM_SERVES)
			sick = &vols[i];
		if (adm->volume ? matches(&vols[i], adm->volume) : vols[i].state == ADM_SERVES) {
			found = &vols[i];
			hits++;
		}
	}
	if (hits == 1) {
		*ret = found;
		return adm_vol_complain(adm, found);
	}
	if (hits > 1) {
		adm_fail(ADM_USAGE, adm->volume ?
			"several volumes are called so; name one by its mount point or UUID:" :
			"several volumes are mounted here; name one by mount point, label or UUID:");
		list_choices(vols, nr);
		return ADM_USAGE;
	}
	/* one that does not answer cannot be known by its label */
	if (sick)
		return adm_vol_complain(adm, sick);
	if (!nr)
		return adm_no_volume(adm);
	adm_fail(ADM_NO_VOLUME, "no volume \"%s\" is mounted here; these are:", adm->volume);
	list_choices(vols, nr);
	return ADM_NO_VOLUME;
}

int adm_pick(const struct adm *adm, struct adm_vol *ret_vol)
{
	struct adm_vol *vols, *found = NULL;
	size_t nr;
	int code = adm_vols(adm, &vols, &nr);

	if (!code)
		code = pick(adm, vols, nr, &found);
	if (!code) {
		*ret_vol = *found;
		found->status = NULL;
	}
	adm_vols_free(vols, nr);
	return code;
}

int adm_request(const struct adm *adm, struct adm_vol *vol, const char *request,
	struct json_object **ret)
{
	struct json_object *o = NULL;
	int err = adm_ask(vol->path, request ? request : "{\"cmd\":\"status\"}\n", adm->timeout_s,
		&vol->pid, &o);

	if (err == -EPROTO)
		return adm_fail(ADM_FAILED, "volume %s: an answer that is not JSON; is csvadm as new "
			"as mount.csvfs?", vol->uuid);
	if (err) {
		vol->state = state_of(err);
		return adm_vol_complain(adm, vol);
	}
	if (adm_get(o, "error")) {
		int code = adm_fail(ADM_FAILED, "%s", adm_str(o, "error"));
		json_object_put(o);
		return code;
	}
	*ret = o;
	return ADM_OK;
}
