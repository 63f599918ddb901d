/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm check: has the coordinator look at all metadata while it serves, and prints what it finds. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tools/csvadm.h"
#include "tools/tool.h"

#define POLL_NS 100000000L

/* What is new since the last time; *ret_nr counts what was printed. */
static void print_texts(const struct adm *adm, struct json_object *st, struct json_object *all,
	uint64_t *ret_nr)
{
	struct json_object *texts = adm_get(st, "texts");
	size_t nr = texts ? json_object_array_length(texts) : 0;

	for (size_t i = 0; i < nr; i++) {
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "text",
			json_object_get(json_object_array_get_idx(texts, i)));
		if (!adm->json)
			puts(adm_str(one, "text"));
		json_object_array_add(all, json_object_new_string(adm_str(one, "text")));
		json_object_put(one);
	}
	*ret_nr += nr;
}

static int report(const struct adm *adm, struct json_object *st, struct json_object *all)
{
	uint64_t errors = adm_u64(st, "errors");
	const char *why = adm_str(st, "ended_by");

	if (why[0])
		return adm_fail(ADM_FAILED, "the check did not come to its end: %s", why);
	if (adm->json) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "errors", json_object_new_uint64(errors));
		json_object_object_add(o, "inodes", json_object_new_uint64(adm_u64(st, "inodes")));
		json_object_object_add(o, "blocks", json_object_new_uint64(adm_u64(st, "blocks")));
		json_object_object_add(o, "took_ms", json_object_new_uint64(adm_u64(st, "took_ms")));
		json_object_object_add(o, "texts", json_object_get(all));
		adm_print_json(o);
		json_object_put(o);
	} else if (errors) {
		printf("%" PRIu64 " errors; fsck.csvfs repairs them, with the volume mounted nowhere\n",
			errors);
	} else {
		printf("no errors: %" PRIu64 " inodes, %s\n", adm_u64(st, "inodes"),
			adm_span(adm_u64(st, "took_ms")));
	}
	return errors ? ADM_FAILED : ADM_OK;
}

static int follow(const struct adm *adm, struct adm_vol *vol)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	struct json_object *all = json_object_new_array();
	bool running = true;
	uint64_t nr = 0;
	int code = ADM_OK;

	while (running && !code) {
		struct json_object *st = NULL;
		char request[80];

		nanosleep(&pause, NULL);
		snprintf(request, sizeof(request), "{\"cmd\":\"check-status\",\"from\":%" PRIu64 "}\n",
			nr);
		code = adm_request(adm, vol, request, &st);
		if (code)
			break;
		running = adm_bool(st, "running");
		print_texts(adm, st, all, &nr);
		if (!adm->json && adm_u64(st, "of_inodes"))
			tool_progress("checking", running ? adm_u64(st, "inodes") : 1,
				running ? adm_u64(st, "of_inodes") + 1 : 1);
		if (!running)
			code = report(adm, st, all);
		json_object_put(st);
	}
	json_object_put(all);
	return code;
}

int adm_check(const struct adm *adm)
{
	struct json_object *answer = NULL;
	struct adm_vol vol;
	char request[80];
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	snprintf(request, sizeof(request), "{\"cmd\":\"check-start\",\"bytes_per_s\":%" PRIu64 "}\n",
		(uint64_t)(adm->rate_mb * 1e6));
	code = adm_request(adm, &vol, request, &answer);
	json_object_put(answer);
	if (!code)
		code = follow(adm, &vol);
	adm_vol_done(&vol);
	return code;
}
