/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/options_net.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/checked.h"
#include "vmm/machine.h"
#include "vmm/link.h"

static int say(char **ret_error, const char *what, const char *text)
{
	if (asprintf(ret_error, "%s%s", what, text) < 0)
		*ret_error = NULL;
	return -EINVAL;
}

static int parse_number(const char *text, long min, long max, long *ret_n)
{
	char *rest;

	errno = 0;
	*ret_n = strtol(text, &rest, 10);
	return errno || rest == text || *rest || *ret_n < min || *ret_n > max ? -EINVAL : 0;
}

static int set_tap(struct vmm_net_conf *net, const char *text)
{
	if (!*text || strlen(text) >= IFNAMSIZ || strchr(text, '/') || strchr(text, '%'))
		return -EINVAL;
	net->tap = text;
	return 0;
}

static int set_fd(struct vmm_net_conf *net, const char *text)
{
	long n;

	if (parse_number(text, 3, INT_MAX, &n) < 0)
		return -EINVAL;
	net->fd = (int)n;
	return 0;
}

static int set_user(struct vmm_net_conf *net, const char *text)
{
	if (*text && strcmp(text, "true") != 0)
		return -EINVAL;
	net->user = true;
	return 0;
}

/* Adds to what is there, so that the word can come more than once. */
static int add_ports(char ports[VMM_NET_PORTS], const char *text)
{
	size_t len = strlen(ports), room = VMM_NET_PORTS - len;

	if (!*text || text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz.,:-~/%")] ||
		(size_t)snprintf(ports + len, room, "%s%s", len ? "," : "", text) >= room)
		return -EINVAL;
	return 0;
}

static int set_tcp(struct vmm_net_conf *net, const char *text)
{
	return add_ports(net->tcp, text);
}

static int set_udp(struct vmm_net_conf *net, const char *text)
{
	return add_ports(net->udp, text);
}

static int set_queues(struct vmm_net_conf *net, const char *text)
{
	long n;

	if (parse_number(text, 1, VMM_LINK_MAX_QUEUES, &n) < 0)
		return -EINVAL;
	net->nr_queues = (unsigned int)n;
	return 0;
}

static int set_mac(struct vmm_net_conf *net, const char *text)
{
	int end = 0;

	if (strlen(text) != 17 ||
		sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &net->mac[0], &net->mac[1],
			&net->mac[2], &net->mac[3], &net->mac[4], &net->mac[5], &end) != 6 ||
		end != 17)
		return -EINVAL;
	return net->mac[0] & 1 ? -EINVAL : 0; /* a group's */
}

static const struct word {
	const char *name, *wants;
	int (*set)(struct vmm_net_conf *net, const char *text);
} words[] = {
	{ "tap", "\"tap\" wants the name of an interface, not ", set_tap },
	{ "fd", "\"fd\" wants a descriptor's number, not ", set_fd },
	{ "user", "\"user\" has no value, or true, not ", set_user },
	{ "tcp", "\"tcp\" wants ports as passt(1) has them, such as 2222:22, not ", set_tcp },
	{ "udp", "\"udp\" wants ports as passt(1) has them, such as 5353:53, not ", set_udp },
	{ "queues", "\"queues\" wants a number from 1 to 16, not ", set_queues },
	{ "mac", "\"mac\" wants an address such as 52:54:00:12:34:56, not ", set_mac },
};

static int set_word(struct vmm_net_conf *net, const char *name, const char *text, char **ret_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(words[i].name, name) != 0)
			continue;
		return words[i].set(net, text) < 0 ? say(ret_error, words[i].wants, text) : 0;
	}
	return say(ret_error, "a network card has no ", name);
}

static int begin(struct vmm_conf *conf, struct vmm_net_conf *ret_net, char **ret_error)
{
	if (conf->nr_nets == VMM_MAX_NETS)
		return say(ret_error, "there can be 4 network cards", "");
	*ret_net = (struct vmm_net_conf){ .fd = -1, .nr_queues = 1 };
	if (getrandom(ret_net->mac, sizeof(ret_net->mac), 0) != sizeof(ret_net->mac))
		return say(ret_error, "there is no random address", "");
	ret_net->mac[0] = 0x52; /* of no maker, of one station */
	return 0;
}

static int finish(struct vmm_conf *conf, const struct vmm_net_conf *net, char **ret_error)
{
	if ((net->tap != NULL) + (net->fd >= 0) + net->user != 1)
		return say(
			ret_error, "a network card wants one of \"tap\", \"user\" and \"fd\"", "");
	if (!net->tap && net->nr_queues != 1)
		return say(ret_error, "queues are for a tap by its name", "");
	if (!net->user && (*net->tcp || *net->udp))
		return say(ret_error, "ports are for \"user\"", "");
	conf->nets[conf->nr_nets++] = *net;
	return 0;
}

int vmm_options_net(struct vmm_conf *conf, char *text, char **ret_error)
{
	struct vmm_net_conf net;
	int err = begin(conf, &net, ret_error);
	char *word;

	while (!err && (word = strsep(&text, ","))) {
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		err = set_word(&net, word, value ? value : "", ret_error);
	}
	return err ? err : finish(conf, &net, ret_error);
}

static int add_object(struct vmm_conf *conf, struct json_object *json, char **ret_error)
{
	struct vmm_net_conf net;
	int err = begin(conf, &net, ret_error);

	if (err)
		return err;
	if (!json_object_is_type(json, json_type_object))
		return say(ret_error, "a network card is an object", "");
	json_object_object_foreach(json, key, value)
	{
		const char *text = json_object_get_string(value);
		bool is_text = json_object_is_type(value, json_type_string) &&
			       strlen(text) == (size_t)json_object_get_string_len(value);

		if (!is_text && !json_object_is_type(value, json_type_int) &&
			!json_object_is_type(value, json_type_boolean))
			return say(ret_error, "this is of the wrong kind: ", key);
		err = set_word(&net, key, text, ret_error);
		if (err)
			return err;
	}
	return finish(conf, &net, ret_error);
}

int vmm_options_json_net(struct vmm_conf *conf, struct json_object *json, char **ret_error)
{
	int err = 0;

	if (!json_object_is_type(json, json_type_array))
		return add_object(conf, json, ret_error);
	for (size_t i = 0; !err && i < json_object_array_length(json); i++)
		err = add_object(conf, json_object_array_get_idx(json, i), ret_error);
	return err;
}
