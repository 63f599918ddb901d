/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: what is. status, volume, node, coordinator show. */
#include <errno.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/csvadm.h"
#include "tools/tool.h"

/* ---- free space ---- */

struct space {
	uint64_t total_bytes, free_bytes, files;
};

static void space_child(const char *mountpoint, int fd)
{
	struct space s;
	struct statfs fs;

	if (statfs(mountpoint, &fs) || fs.f_type != FUSE_SUPER_MAGIC)
		_exit(1);
	s.total_bytes = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
	s.free_bytes = (uint64_t)fs.f_bfree * (uint64_t)fs.f_bsize;
	s.files = fs.f_files - fs.f_ffree;
	_exit(write(fd, &s, sizeof(s)) == (ssize_t)sizeof(s) ? 0 : 1);
}

/* Asks the mount point, in a child that may hang in our place (A1). */
static int get_space(const char *mountpoint, double timeout_s, struct space *ret)
{
	int fds[2], err = -EIO;

	if (pipe(fds))
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		space_child(mountpoint, fds[1]);
	close(fds[1]);
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	if (pid > 0 && poll(&p, 1, (int)(timeout_s * 1000)) == 0)
		err = -ETIMEDOUT;
	else if (pid > 0 && read(fds[0], ret, sizeof(*ret)) == (ssize_t)sizeof(*ret))
		err = 0;
	close(fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, err == -ETIMEDOUT ? WNOHANG : 0);
	}
	return err;
}

static void add_space(const struct adm *adm, struct adm_vol *vol)
{
	double timeout_s = adm->timeout_s < 2.0 ? adm->timeout_s : 2.0;
	struct space s;

	if (!vol->status || get_space(adm_str(vol->status, "volume/mountpoint"), timeout_s, &s))
		return;
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "total_bytes", json_object_new_uint64(s.total_bytes));
	json_object_object_add(o, "free_bytes", json_object_new_uint64(s.free_bytes));
	json_object_object_add(o, "files", json_object_new_uint64(s.files));
	json_object_object_add(vol->status, "space", o);
}

/* ---- lines of the screen ---- */

static void line(const char *label, const char *text)
{
	printf("%-13s%s\n", label, text);
}

/* What can be done about something that is waited for. */
static const char *hint(const char *reason)
{
	static const struct {
		const char *part, *hint;
	} hints[] = {
		{ "Corosync", "is it running on this node? systemctl status corosync" },
		{ "quorum", "'corosync-quorumtool -s' shows which nodes are missing; I/O to what is "
			    "written already goes on" },
		{ "fencing", "reads and overwrites go on meanwhile; if it takes long, see csvadm log" },
		{ "no connection", "does every node reach the others on Corosync's network, and have "
				   "the same volume key?" },
		{ "fenced", "the others removed this node; find out why (csvadm log), umount here, and "
			    "mount again" },
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (strstr(reason, hints[i].part))
			return hints[i].hint;
	return NULL;
}

static void print_state(struct json_object *st)
{
	const char *why = adm_str(st, "node/waiting_for");
	bool fenced = !strcmp(adm_str(st, "node/io_mode"), "fenced");
	uint64_t ms = adm_u64(st, "node/waiting_ms");
	char text[1400];

	if (fenced)
		snprintf(text, sizeof(text), "FENCED: %s", why);
	else if (why[0] && ms)
		snprintf(text, sizeof(text), "WAITING for %s: %s", adm_span(ms), why);
	else if (why[0])
		snprintf(text, sizeof(text), "WAITING: %s", why);
	else if (ms >= 1000)
		snprintf(text, sizeof(text), "WAITING for %s: the coordinator has not answered yet",
			adm_span(ms));
	else
		snprintf(text, sizeof(text), "healthy");
	line("state", text);
	const char *next = fenced ? hint("fenced") : hint(why);
	if (why[0] && next)
		line("", next);
}

static void print_space(struct json_object *st)
{
	uint64_t total = adm_u64(st, "space/total_bytes"), left = adm_u64(st, "space/free_bytes");
	char text[200];

	if (!adm_get(st, "space"))
		snprintf(text, sizeof(text), "%s; what is free is not known: the mount point does not answer",
			tool_size(adm_u64(st, "volume/size_bytes")));
	else
		snprintf(text, sizeof(text), "%s free of %s (%.0f%% used), %llu files", tool_size(left),
			tool_size(total),
			total ? (double)(total - left) * 100.0 / (double)total : 0.0,
			(unsigned long long)adm_u64(st, "space/files"));
	line("space", text);
}

static void print_coordinator(struct json_object *st)
{
	uint64_t node = adm_u64(st, "coordinator/node");
	char text[600];

	if (!node) {
		line("coordinator", "none at present");
		return;
	}
	int n = snprintf(text, sizeof(text), "%s, epoch %llu", adm_node_name(st, node),
		(unsigned long long)adm_u64(st, "coordinator/epoch"));
	if (adm_get(st, "coordinator/sessions"))
		snprintf(text + n, sizeof(text) - (size_t)n,
			", %llu sessions; took over in %s, %llu log records replayed",
			(unsigned long long)adm_u64(st, "coordinator/sessions"),
			adm_span(adm_u64(st, "coordinator/takeover_ms")),
			(unsigned long long)adm_u64(st, "coordinator/replayed_records"));
	line("coordinator", text);
}

static void print_journal(struct json_object *st)
{
	struct json_object *j = adm_get(st, "coordinator/journal");
	char text[200];

	if (j)
		snprintf(text, sizeof(text), "%s of %s in use, %llu operations in %llu records, %llu checkpoints",
			tool_size(adm_u64(j, "used_bytes")), tool_size(adm_u64(j, "size_bytes")),
			(unsigned long long)adm_u64(j, "commits"),
			(unsigned long long)adm_u64(j, "records"),
			(unsigned long long)adm_u64(j, "checkpoints"));
	else
		snprintf(text, sizeof(text), "%s; its use is shown on the coordinator",
			tool_size(adm_u64(st, "volume/journal_bytes")));
	line("journal", text);
}

static const char *fencing_text(struct json_object *st)
{
	const char *mode = adm_str(st, "cluster/fencing");

	if (!strcmp(mode, "pr"))
		return "pr (SCSI persistent reservations)";
	if (!strcmp(mode, "lease"))
		return "lease (beats on the device)";
	return adm_bool(st, "cluster/clustered") ? "NONE: for tests only" :
						   "none needed: a single node";
}

static void print_members(struct json_object *st)
{
	struct json_object *members = adm_get(st, "cluster/members");
	size_t nr = members ? json_object_array_length(members) : 0;

	printf("%-5s %-20s %-24s %-7s %-6s %-10s %s\n", "NODE", "NAME", "ADDRESS", "MEMBER", "SLOT",
		"LAST BEAT", "ROLE");
	for (size_t i = 0; i < nr; i++) {
		struct json_object *m = json_object_array_get_idx(members, i);
		bool self = adm_u64(m, "node") == adm_u64(st, "node/node");
		const char *role = adm_bool(m, "coordinator") ? "coordinator" : "";
		char beat[32] = "-";
		if (adm_get(m, "beat_age_ms"))
			snprintf(beat, sizeof(beat), "%s", adm_span(adm_u64(m, "beat_age_ms")));
		printf("%-5llu %-20s %-24s %-7s %-6s %-10s %s%s%s\n",
			(unsigned long long)adm_u64(m, "node"), adm_str(m, "name"), adm_str(m, "address"),
			adm_bool(m, "member") ? "yes" : "NO", adm_bool(m, "live") ? "live" : "-", beat,
			role, role[0] && self ? ", " : "", self ? "this node" : "");
	}
}

static void print_volume(struct json_object *st)
{
	const char *label = adm_str(st, "volume/label");
	char text[1200];

	snprintf(text, sizeof(text), "%s%s%s", label, label[0] ? "  " : "", adm_str(st, "volume/uuid"));
	line("volume", text);
	line("device", adm_str(st, "volume/device"));
}

static void print_status(struct json_object *st)
{
	uint64_t self = adm_u64(st, "node/node");
	char text[1400];

	print_volume(st);
	snprintf(text, sizeof(text), "%s, for %s (pid %llu)", adm_str(st, "volume/mountpoint"),
		adm_span(adm_u64(st, "node/uptime_s") * 1000),
		(unsigned long long)adm_u64(st, "node/pid"));
	line("mounted at", text);
	print_state(st);
	print_space(st);
	snprintf(text, sizeof(text), "%s: %s, I/O %s", adm_node_name(st, self),
		adm_str(st, "node/role"), adm_str(st, "node/io_mode"));
	line("this node", text);
	print_coordinator(st);
	if (adm_bool(st, "cluster/clustered"))
		line("quorum", adm_bool(st, "cluster/quorate") ? "yes" : "NO");
	line("fencing", fencing_text(st));
	print_journal(st);
	putchar('\n');
	print_members(st);
}

/* ---- commands ---- */

static void show_status(const struct adm *adm, struct adm_vol *vol)
{
	add_space(adm, vol);
	if (adm->json)
		adm_print_json(vol->status);
	else
		print_status(vol->status);
}

static int status_all(const struct adm *adm)
{
	struct adm_vol *vols;
	size_t nr, shown = 0;
	int code = adm_vols(adm, &vols, &nr);

	if (!code && !nr)
		code = adm_no_volume(adm);
	for (size_t i = 0; i < nr; i++) {
		if (vols[i].state != ADM_SERVES) {
			code = adm_vol_complain(adm, &vols[i]);
			continue;
		}
		if (shown++ && !adm->json)
			putchar('\n');
		show_status(adm, &vols[i]);
	}
	adm_vols_free(vols, nr);
	return code;
}

int adm_status(const struct adm *adm)
{
	struct adm_vol vol;

	if (!adm->volume)
		return status_all(adm);
	int code = adm_pick(adm, &vol);
	if (code)
		return code;
	show_status(adm, &vol);
	adm_vol_done(&vol);
	return ADM_OK;
}

static const char *state_text(const struct adm_vol *vol)
{
	static const char *const text[] = { "serves", "no answer", "dead", "not permitted" };
	const char *why = adm_str(vol->status, "node/waiting_for");

	if (vol->state != ADM_SERVES)
		return text[vol->state];
	if (!strcmp(adm_str(vol->status, "node/io_mode"), "fenced"))
		return "fenced";
	return why[0] ? "waiting" : "serves";
}

static struct json_object *volume_json(const struct adm_vol *vol)
{
	static const char *const members[] = { "label", "device", "mountpoint", "size_bytes",
		"cluster_bytes", "journal_bytes", "encrypted_requests" };
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "uuid", json_object_new_string(vol->uuid));
	json_object_object_add(o, "state", json_object_new_string(state_text(vol)));
	json_object_object_add(o, "pid", json_object_new_int(vol->pid));
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		struct json_object *m = adm_get(adm_get(vol->status, "volume"), members[i]);
		if (vol->status && m)
			json_object_object_add(o, members[i], json_object_get(m));
	}
	if (vol->status) {
		json_object_object_add(o, "role",
			json_object_get(adm_get(vol->status, "node/role")));
		json_object_object_add(o, "coordinator",
			json_object_get(adm_get(vol->status, "coordinator/node")));
	}
	return o;
}

int adm_volume_list(const struct adm *adm)
{
	struct adm_vol *vols;
	size_t nr;
	int code = adm_vols(adm, &vols, &nr);

	if (!code && !adm->json && nr)
		printf("%-24s %-16s %-36s %-13s %-9s %s\n", "MOUNTED AT", "LABEL", "UUID", "STATE",
			"SIZE", "DEVICE");
	for (size_t i = 0; !code && i < nr; i++) {
		struct json_object *st = vols[i].status;
		if (adm->json) {
			struct json_object *o = volume_json(&vols[i]);
			adm_print_json(o);
			json_object_put(o);
			continue;
		}
		printf("%-24s %-16s %-36s %-13s %-9s %s\n",
			st ? adm_str(st, "volume/mountpoint") : "?", adm_str(st, "volume/label"),
			vols[i].uuid, state_text(&vols[i]),
			st ? tool_size(adm_u64(st, "volume/size_bytes")) : "?",
			adm_str(st, "volume/device"));
	}
	if (!code && !nr && !adm->json)
		fprintf(stderr, "csvadm: no csvfs volume is mounted here\n");
	adm_vols_free(vols, nr);
	return code;
}

int adm_volume_info(const struct adm *adm)
{
	struct adm_vol vol;
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	add_space(adm, &vol);
	struct json_object *o = volume_json(&vol), *st = vol.status;
	if (adm_get(st, "space"))
		json_object_object_add(o, "space", json_object_get(adm_get(st, "space")));
	if (adm->json) {
		adm_print_json(o);
	} else {
		print_volume(st);
		line("mounted at", adm_str(st, "volume/mountpoint"));
		print_space(st);
		line("size", tool_size(adm_u64(st, "volume/size_bytes")));
		line("cluster", tool_size(adm_u64(st, "volume/cluster_bytes")));
		line("journal", tool_size(adm_u64(st, "volume/journal_bytes")));
		line("requests", adm_bool(st, "volume/encrypted_requests") ?
			"encrypted with the volume key" : "no key: can be mounted with -o single only");
	}
	json_object_put(o);
	adm_vol_done(&vol);
	return ADM_OK;
}

int adm_node_list(const struct adm *adm)
{
	struct adm_vol vol;
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	struct json_object *members = adm_get(vol.status, "cluster/members");
	if (!adm->json)
		print_members(vol.status);
	for (size_t i = 0; adm->json && members && i < json_object_array_length(members); i++)
		adm_print_json(json_object_array_get_idx(members, i));
	adm_vol_done(&vol);
	return ADM_OK;
}

int adm_coordinator_show(const struct adm *adm)
{
	struct adm_vol vol;
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	if (adm->json) {
		adm_print_json(adm_get(vol.status, "coordinator"));
	} else {
		print_coordinator(vol.status);
		print_state(vol.status);
		print_journal(vol.status);
	}
	adm_vol_done(&vol);
	return ADM_OK;
}
