/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm grow: the volume takes what its device has grown by. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/csvadm.h"
#include "tools/tool.h"

#define POLL_NS 100000000L

static int refused(const struct adm_vol *vol, struct json_object *st, const char *outcome)
{
	const char *who = adm_node_name(vol->status, adm_u64(st, "node"));
	char now[32], device[32], wanted[32];

	snprintf(now, sizeof(now), "%s", tool_size(adm_u64(st, "new_bytes")));
	snprintf(device, sizeof(device), "%s", tool_size(adm_u64(st, "device_bytes")));
	snprintf(wanted, sizeof(wanted), "%s", tool_size(adm_u64(st, "wanted_bytes")));
	if (!strcmp(outcome, "nothing"))
		return adm_fail(ADM_FAILED,
			"nothing to do: the volume has %s (%" PRIu64 " bytes), the device %s (%" PRIu64
			" bytes); enlarge the LUN on its target first (a LUN that shows its old size still: "
			"have the target look at its backing store anew)",
			now, adm_u64(st, "new_bytes"), device, adm_u64(st, "device_bytes"));
	if (!strcmp(outcome, "shrink"))
		return adm_fail(ADM_FAILED, "the volume has %s (%" PRIu64 " bytes), and a volume cannot be "
					    "made smaller",
			now, adm_u64(st, "new_bytes"));
	if (!strcmp(outcome, "too-large"))
		return adm_fail(ADM_FAILED, "%s are more than the device has, %s (%" PRIu64 " bytes); enlarge "
					    "the LUN on its target first, or leave --size away",
			wanted, device, adm_u64(st, "device_bytes"));
	if (!strcmp(outcome, "blind"))
		return adm_fail(ADM_FAILED, "%s sees %s (%" PRIu64 " bytes) of the device only, and %s are "
					    "wanted; have it look again (rescan the disk there, or unmount and "
					    "mount), then repeat. Nothing was changed",
			who, device, adm_u64(st, "device_bytes"), wanted);
	if (!strcmp(outcome, "silent"))
		return adm_fail(ADM_FAILED, "%s does not tell how large it sees the device: look at its path to "
					    "the storage (csvadm status there), then repeat. Nothing was changed",
			who);
	return adm_fail(ADM_FAILED, "the mount process answers \"%s\", which this csvadm does not know",
		outcome);
}

static int report(const struct adm *adm, const struct adm_vol *vol, struct json_object *st)
{
	const char *failed = adm_str(st, "failed"), *outcome = adm_str(st, "outcome");
	char before[32];

	if (failed[0])
		return adm_fail(ADM_FAILED, "the volume was not grown: %s; csvadm log on the coordinator says "
					    "more",
			failed);
	if (strcmp(outcome, "grown"))
		return refused(vol, st, outcome);
	if (adm->json) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "old_bytes", json_object_new_uint64(adm_u64(st, "old_bytes")));
		json_object_object_add(o, "new_bytes", json_object_new_uint64(adm_u64(st, "new_bytes")));
		adm_print_json(o);
		json_object_put(o);
		return ADM_OK;
	}
	snprintf(before, sizeof(before), "%s", tool_size(adm_u64(st, "old_bytes")));
	printf("the volume has %s now, %s before\n", tool_size(adm_u64(st, "new_bytes")), before);
	return ADM_OK;
}

static int follow(const struct adm *adm, struct adm_vol *vol)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	bool running = true;
	int code = ADM_OK;

	while (running && !code) {
		struct json_object *st = NULL;

		nanosleep(&pause, NULL);
		code = adm_request(adm, vol, "{\"cmd\":\"grow-status\"}\n", &st);
		if (code)
			break;
		running = adm_bool(st, "running");
		if (running && !adm->json && adm_u64(st, "groups"))
			tool_progress("writing groups", adm_u64(st, "groups_done"), adm_u64(st, "groups"));
		if (!running)
			code = report(adm, vol, st);
		json_object_put(st);
	}
	return code;
}

int adm_grow(const struct adm *adm)
{
	struct json_object *answer = NULL;
	struct adm_vol vol;
	char request[80];
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	snprintf(request, sizeof(request), "{\"cmd\":\"grow-start\",\"size_bytes\":%" PRIu64 "}\n",
		adm->size_bytes);
	code = adm_request(adm, &vol, request, &answer);
	json_object_put(answer);
	if (!code)
		code = follow(adm, &vol);
	adm_vol_done(&vol);
	return code;
}
