/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm coordinator move: asks the coordinator to hand its role over, and waits until it has moved. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/csvadm.h"

#define POLL_NS 50000000L

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The node that adm->node means, by number or name; 0 = whichever. An exit code. */
static int find_node(const struct adm *adm, struct json_object *st, uint64_t *ret_node)
{
	struct json_object *members = adm_get(st, "cluster/members");
	size_t nr = members ? json_object_array_length(members) : 0;
	const char *want = adm->node;

	*ret_node = 0;
	for (size_t i = 0; want && i < nr; i++) {
		struct json_object *m = json_object_array_get_idx(members, i);
		char number[24];
		snprintf(number, sizeof(number), "%llu", (unsigned long long)adm_u64(m, "node"));
		if (strcmp(want, number) && strcmp(want, adm_str(m, "name")))
			continue;
		if (!adm_bool(m, "member"))
			return adm_fail(ADM_FAILED,
				"%s is no member now; start it there (mount -t csvfs), or choose "
				"another (csvadm node list)",
				adm_node_name(st, adm_u64(m, "node")));
		*ret_node = adm_u64(m, "node");
		return ADM_OK;
	}
	if (want)
		return adm_fail(ADM_FAILED, "no node \"%s\" has this volume; see csvadm node list", want);
	return ADM_OK;
}

static void progress(struct json_object *st, uint64_t begin_ms)
{
	const char *why = adm_str(st, "node/waiting_for");

	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%5.1f s  %s%s%s", (double)(now_ms() - begin_ms) / 1000.0,
			adm_str(st, "node/role"), why[0] ? ": " : "", why);
}

/* The role has left this node and somebody serves. */
static bool arrived(struct json_object *st, uint64_t from)
{
	uint64_t node = adm_u64(st, "coordinator/node");

	return node && node != from && !strcmp(adm_str(st, "node/role"), "member") &&
		!adm_str(st, "node/waiting_for")[0];
}

static void report(const struct adm *adm, struct json_object *st, uint64_t begin_ms)
{
	uint64_t node = adm_u64(st, "coordinator/node"), took_ms = now_ms() - begin_ms;

	if (!adm->json) {
		printf("%s coordinates now, after %s\n", adm_node_name(st, node), adm_span(took_ms));
		return;
	}
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "node", json_object_new_uint64(node));
	json_object_object_add(o, "epoch", json_object_new_uint64(adm_u64(st, "coordinator/epoch")));
	json_object_object_add(o, "took_ms", json_object_new_uint64(took_ms));
	adm_print_json(o);
	json_object_put(o);
}

static int wait_moved(const struct adm *adm, struct adm_vol *vol, uint64_t from, uint64_t epoch,
	uint64_t begin_ms)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	int code = ADM_OK;

	for (bool done = false; !done && !code;) {
		struct json_object *st = NULL;
		code = adm_request(adm, vol, NULL, &st);
		if (code)
			break;
		progress(st, begin_ms);
		done = arrived(st, from);
		bool back = adm_u64(st, "coordinator/node") == from &&
			adm_u64(st, "coordinator/epoch") > epoch;
		bool late = (double)(now_ms() - begin_ms) > adm->wait_s * 1000.0;
		if (isatty(STDERR_FILENO) && (done || back || late))
			fputs("\r\033[K", stderr);
		if (done)
			report(adm, st, begin_ms);
		else if (back)
			code = adm_fail(ADM_FAILED, "the other node could not take the role, and %s "
				"has it again; see csvadm log on both",
				adm_node_name(st, from));
		else if (late)
			code = adm_fail(ADM_FAILED, "not moved within %.3g s%s%s; it goes on: see "
				"csvadm status",
				adm->wait_s, adm_str(st, "node/waiting_for")[0] ? ": " : "",
				adm_str(st, "node/waiting_for"));
		json_object_put(st);
		if (!done && !code)
			nanosleep(&pause, NULL);
	}
	return code;
}

int adm_coordinator_move(const struct adm *adm)
{
	struct json_object *answer = NULL;
	uint64_t begin_ms = now_ms(), to;
	struct adm_vol vol;
	char request[80];
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	struct json_object *st = vol.status;
	uint64_t from = adm_u64(st, "coordinator/node"), epoch = adm_u64(st, "coordinator/epoch");
	code = find_node(adm, st, &to);
	if (code)
		goto out;
	if (!from) {
		code = adm_fail(ADM_FAILED, "there is no coordinator at present (%s); try again when "
			"csvadm status shows one",
			adm_str(st, "node/waiting_for"));
	} else if (to == from) {
		report(adm, st, begin_ms);
	} else if (from != adm_u64(st, "node/node")) {
		code = adm_fail(ADM_FAILED, "%s coordinates, and only it can hand over: run csvadm "
			"coordinator move%s%s there",
			adm_node_name(st, from), adm->node ? " " : "", adm->node ? adm->node : "");
	} else {
		snprintf(request, sizeof(request), "{\"cmd\":\"coordinator-move\",\"node\":%llu}\n",
			(unsigned long long)to);
		code = adm_request(adm, &vol, request, &answer);
		if (!code)
			code = wait_moved(adm, &vol, from, epoch, begin_ms);
	}
out:
	json_object_put(answer);
	adm_vol_done(&vol);
	return code;
}
