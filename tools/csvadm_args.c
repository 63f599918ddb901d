/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/csvadm_args.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/tool.h"

static int parse_secs(const char *what, const char *text, double *ret_s)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || *end || !(s >= 0.01 && s <= 1e6))
		return adm_fail(ADM_USAGE, "%s: \"%s\": seconds, from 0.01 to 1000000", what, text);
	*ret_s = s;
	return ADM_OK;
}

static int parse_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (end == text || *end || errno || strchr(text, '-') || n < min || n > max)
		return adm_fail(ADM_USAGE, "%s: \"%s\": a number, from %llu to %llu", what, text,
			(unsigned long long)min, (unsigned long long)max);
	*ret = n;
	return ADM_OK;
}

static int parse_size(const char *what, const char *text, uint64_t min, uint64_t *ret)
{
	uint64_t bytes;

	if (tool_parse_size(text, &bytes) || bytes < min || bytes > INT64_MAX)
		return adm_fail(ADM_USAGE, "%s: \"%s\": bytes, or with k, M, G, T", what, text);
	*ret = bytes;
	return ADM_OK;
}

/* ---- options ---- */

static int opt_json(struct adm *adm, const char *text)
{
	adm->json = true;
	return ADM_OK;
}

static int opt_volume(struct adm *adm, const char *text)
{
	adm->volume = text;
	return ADM_OK;
}

static int opt_control(struct adm *adm, const char *text)
{
	adm->control = text;
	return ADM_OK;
}

static int opt_timeout(struct adm *adm, const char *text)
{
	return parse_secs("--timeout", text, &adm->timeout_s);
}

static int opt_wait(struct adm *adm, const char *text)
{
	return parse_secs("--wait", text, &adm->wait_s);
}

static int opt_interval(struct adm *adm, const char *text)
{
	return parse_secs("--interval", text, &adm->interval_s);
}

static int opt_count(struct adm *adm, const char *text)
{
	return parse_number("--count", text, 1, UINT64_MAX, &adm->count);
}

static int opt_rate(struct adm *adm, const char *text)
{
	char *end;
	double mb = strtod(text, &end);

	if (end == text || *end || !(mb >= 0.01 && mb <= 1e6))
		return adm_fail(ADM_USAGE, "--rate: \"%s\": megabytes a second, from 0.01 to 1000000",
			text);
	adm->rate_mb = mb;
	return ADM_OK;
}

static int opt_size(struct adm *adm, const char *text)
{
	return parse_size("--size", text, 1, &adm->size_bytes);
}

static int opt_format(struct adm *adm, const char *text)
{
	adm->format = text;
	return ADM_OK;
}

static int opt_fixed(struct adm *adm, const char *text)
{
	adm->fixed = true;
	return ADM_OK;
}

static int opt_dynamic(struct adm *adm, const char *text)
{
	adm->dynamic = true;
	return ADM_OK;
}

static int opt_force(struct adm *adm, const char *text)
{
	adm->force = true;
	return ADM_OK;
}

static int opt_limit(struct adm *adm, const char *text)
{
	adm->limit_given = true;
	return parse_size("--limit", text, 0, &adm->limit_bytes);
}

static int opt_files(struct adm *adm, const char *text)
{
	adm->files_given = true;
	return parse_number("--files", text, 0, INT64_MAX, &adm->limit_files);
}

static int opt_project(struct adm *adm, const char *text)
{
	uint64_t n = 0;
	int err = parse_number("--project", text, 1, UINT32_MAX, &n);

	adm->project = (uint32_t)n;
	return err;
}

static const struct opt {
	const char *name;
	int key; /* its letter, or from 256 on: it has none */
	bool has_value;
	unsigned takes; /* 0: every command does */
	int (*parse)(struct adm *adm, const char *text);
} opts[] = {
	{ "json", 'j', false, 0, opt_json },
	{ "volume", 'v', true, 0, opt_volume },
	{ "control", 'c', true, 0, opt_control },
	{ "timeout", 't', true, 0, opt_timeout },
	{ "help", 'h', false, 0, NULL },
	{ "version", 'V', false, 0, NULL },
	{ "wait", 'w', true, TAKES_WAIT, opt_wait },
	{ "interval", 'i', true, TAKES_RATE, opt_interval },
	{ "count", 'n', true, TAKES_RATE, opt_count },
	{ "rate", 'r', true, TAKES_MB, opt_rate },
	{ "size", 's', true, TAKES_TO_SIZE, opt_size },
	{ "format", 'f', true, TAKES_FORMAT, opt_format },
	{ "fixed", 256, false, TAKES_FORMAT, opt_fixed },
	{ "dynamic", 257, false, TAKES_FORMAT, opt_dynamic },
	{ "force", 258, false, TAKES_FORMAT, opt_force },
	{ "limit", 'l', true, TAKES_LIMITS, opt_limit },
	{ "files", 259, true, TAKES_LIMITS, opt_files },
	{ "project", 'p', true, TAKES_LIMITS, opt_project },
};

#define NR_OPTS (sizeof(opts) / sizeof(opts[0]))
_Static_assert(NR_OPTS <= 32, "adm_args.given has a bit for each");

int adm_args_parse(int argc, char **argv, struct adm *adm, struct adm_args *args)
{
	struct option longopts[NR_OPTS + 1] = { 0 };
	char letters[2 * NR_OPTS + 1], *l = letters;
	int key, err = ADM_OK;

	for (size_t i = 0; i < NR_OPTS; i++) {
		longopts[i] = (struct option){ opts[i].name, opts[i].has_value, NULL, opts[i].key };
		if (opts[i].key < 256) {
			*l++ = (char)opts[i].key;
			if (opts[i].has_value)
				*l++ = ':';
		}
	}
	*l = 0;
	while (!err && (key = getopt_long(argc, argv, letters, longopts, NULL)) != -1) {
		size_t i = 0;

		while (i < NR_OPTS && opts[i].key != key)
			i++;
		if (i == NR_OPTS) {
			fputs("Try 'csvadm --help'.\n", stderr);
			return ADM_USAGE;
		}
		args->given |= 1u << i;
		args->help |= key == 'h';
		args->version |= key == 'V';
		if (opts[i].parse)
			err = opts[i].parse(adm, optarg);
	}
	args->words = argv + optind;
	args->nr_words = argc - optind;
	return err;
}

/* ---- a command with what it was given ---- */

static int wrong_option(const struct opt *opt, const struct adm_command *commands, size_t nr)
{
	char owners[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < nr; i++)
		if (commands[i].takes & opt->takes && len < sizeof(owners))
			len += (size_t)snprintf(owners + len, sizeof(owners) - len, "%scsvadm %s%s%s",
				len ? ", " : "", commands[i].object, commands[i].verb ? " " : "",
				commands[i].verb ? commands[i].verb : "");
	return adm_fail(ADM_USAGE, "--%s belongs to %s", opt->name, owners);
}

static int missing(const struct adm_command *c)
{
	return adm_fail(ADM_USAGE, "give %s; see csvadm %s%s%s --help",
		c->takes & TAKES_DIR	  ? "DIR" :
		c->takes & TAKES_SIZE	  ? "FILE and SIZE" :
		c->takes & TAKES_NEW_FILE ? "FILE and NEW" :
					    "FILE",
		c->object, c->verb ? " " : "", c->verb ? c->verb : "");
}

int adm_args_fit(const struct adm_args *args, const struct adm_command *c,
	const struct adm_command *commands, size_t nr_commands, struct adm *adm)
{
	char *const *word = args->words;
	int nr = args->nr_words;

	for (size_t i = 0; i < NR_OPTS; i++)
		if (args->given & 1u << i && opts[i].takes && !(opts[i].takes & c->takes))
			return wrong_option(&opts[i], commands, nr_commands);
	if (nr && c->takes & TAKES_NODE)
		adm->node = *word++, nr--;
	if (c->takes & (TAKES_FILE | TAKES_DIR)) {
		if (!nr)
			return missing(c);
		adm->file = *word++, nr--;
	}
	if (c->takes & (TAKES_NEW_FILE | TAKES_SIZE)) {
		if (!nr)
			return missing(c);
		adm->new_file = *word++, nr--;
	}
	if (nr && c->takes & TAKES_VOLUME) {
		if (adm->volume)
			return adm_fail(ADM_USAGE, "two volumes: \"%s\" and \"%s\"", adm->volume, *word);
		adm->volume = *word++, nr--;
	}
	if (nr)
		return adm_fail(ADM_USAGE, "\"%s\" is too much; see csvadm %s%s%s --help", *word,
			c->object, c->verb ? " " : "", c->verb ? c->verb : "");
	return ADM_OK;
}
