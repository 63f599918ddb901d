/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: members of an answer, and how values are written. */
#include <stdio.h>
#include <string.h>

#include "tools/csvadm.h"

struct json_object *adm_get(struct json_object *o, const char *path)
{
	char name[64];

	while (o && *path) {
		size_t len = strcspn(path, "/");
		struct json_object *member;
		snprintf(name, sizeof(name), "%.*s", (int)len, path);
		if (!json_object_is_type(o, json_type_object) ||
			!json_object_object_get_ex(o, name, &member))
			return NULL;
		o = member;
		path += len + (path[len] == '/');
	}
	return o;
}

uint64_t adm_u64(struct json_object *o, const char *path)
{
	return json_object_get_uint64(adm_get(o, path));
}

bool adm_bool(struct json_object *o, const char *path)
{
	return json_object_get_boolean(adm_get(o, path));
}

const char *adm_str(struct json_object *o, const char *path)
{
	static char text[8][1024];
	static unsigned next;
	char *out = text[next++ % 8];
	struct json_object *s = adm_get(o, path);

	snprintf(out, sizeof(text[0]), "%s", s ? json_object_get_string(s) : "");
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return out;
}

void adm_print_json(struct json_object *o)
{
	puts(json_object_to_json_string_ext(o,
		JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	fflush(stdout);
}

const char *adm_node_name(struct json_object *status, uint64_t node)
{
	static char text[4][160];
	static unsigned next;
	char *out = text[next++ % 4];
	struct json_object *members = adm_get(status, "cluster/members");
	size_t nr = members ? json_object_array_length(members) : 0;

	snprintf(out, sizeof(text[0]), "node %llu", (unsigned long long)node);
	for (size_t i = 0; i < nr; i++) {
		struct json_object *m = json_object_array_get_idx(members, i);
		const char *name = adm_str(m, "name");
		if (adm_u64(m, "node") == node && name[0])
			snprintf(out, sizeof(text[0]), "%.100s (node %llu)", name,
				(unsigned long long)node);
	}
	return out;
}

const char *adm_span(uint64_t ms)
{
	static char text[4][32];
	static unsigned next;
	char *out = text[next++ % 4];
	double s = (double)ms / 1000.0;

	if (ms < 1000)
		snprintf(out, sizeof(text[0]), "%llu ms", (unsigned long long)ms);
	else if (s < 120)
		snprintf(out, sizeof(text[0]), s < 10 ? "%.1f s" : "%.0f s", s);
	else if (s < 7200)
		snprintf(out, sizeof(text[0]), "%.0f min", s / 60);
	else if (s < 48 * 3600)
		snprintf(out, sizeof(text[0]), "%.0f hours", s / 3600);
	else
		snprintf(out, sizeof(text[0]), "%.0f days", s / 86400);
	return out;
}
