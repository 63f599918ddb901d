/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm: what goes on. io, log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/csvadm.h"

#define HEADER_EVERY 20

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* One counter, now and an interval ago. */
struct pair {
	struct json_object *now, *before;
	double secs;
};

static double delta(const struct pair *p, const char *path)
{
	uint64_t now = adm_u64(p->now, path), before = adm_u64(p->before, path);

	return now > before ? (double)(now - before) : 0.0;
}

static double per_s(const struct pair *p, const char *path)
{
	return delta(p, path) / p->secs;
}

/* Mean time of the device's requests that ended in this interval, in microseconds. */
static double device_us(const struct pair *p, const char *op)
{
	char path[64];

	snprintf(path, sizeof(path), "device/%s/ops", op);
	double ops = delta(p, path);
	snprintf(path, sizeof(path), "device/%s/total_us", op);
	return ops > 0 ? delta(p, path) / ops : 0.0;
}

struct rates {
	double read_ops, read_bytes, write_ops, write_bytes;	  /* what programs asked for */
	double dev_read_ops, dev_write_ops, dev_flush_ops;	  /* what went to the device */
	double dev_read_us, dev_write_us, dev_flush_us;
	double calls, recalls;
	uint64_t in_flight;
};

static void get_rates(const struct pair *p, struct rates *r)
{
	*r = (struct rates){
		.read_ops = per_s(p, "io/read_ops"),
		.read_bytes = per_s(p, "io/read_bytes"),
		.write_ops = per_s(p, "io/write_ops"),
		.write_bytes = per_s(p, "io/write_bytes"),
		.dev_read_ops = per_s(p, "device/read/ops"),
		.dev_write_ops = per_s(p, "device/write/ops"),
		.dev_flush_ops = per_s(p, "device/flush/ops"),
		.dev_read_us = device_us(p, "read"),
		.dev_write_us = device_us(p, "write"),
		.dev_flush_us = device_us(p, "flush"),
		.calls = per_s(p, "io/calls/total"),
		.recalls = per_s(p, "io/recalls"),
		.in_flight = adm_u64(p->now, "device/in_flight"),
	};
}

static void print_header(void)
{
	puts("          files                              device                                    "
	     "coordinator");
	puts("time      read/s   MiB/s  write/s   MiB/s   read us  write us  flush/s  flush us queue "
	     "calls/s recalls/s");
}

static void print_rates(const struct rates *r)
{
	time_t now = time(NULL);
	char when[16];
	struct tm tm;

	strftime(when, sizeof(when), "%H:%M:%S", localtime_r(&now, &tm));
	printf("%s %7.0f %7.1f  %7.0f %7.1f  %8.0f  %8.0f  %7.0f  %8.0f %5llu %7.0f %9.0f\n", when,
		r->read_ops, r->read_bytes / 1048576.0, r->write_ops, r->write_bytes / 1048576.0,
		r->dev_read_us, r->dev_write_us, r->dev_flush_ops, r->dev_flush_us,
		(unsigned long long)r->in_flight, r->calls, r->recalls);
	fflush(stdout);
}

static void add(struct json_object *o, const char *key, double value)
{
	char text[32];

	/* three digits behind the point; json-c prints seventeen otherwise */
	snprintf(text, sizeof(text), "%.3f", value);
	json_object_object_add(o, key, json_object_new_double_s(value, text));
}

static void print_rates_json(struct adm_vol *vol, const struct rates *r, double secs)
{
	struct json_object *o = json_object_new_object();
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	add(o, "time", (double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
	json_object_object_add(o, "uuid", json_object_new_string(vol->uuid));
	add(o, "interval_s", secs);
	add(o, "read_ops_per_s", r->read_ops);
	add(o, "read_bytes_per_s", r->read_bytes);
	add(o, "write_ops_per_s", r->write_ops);
	add(o, "write_bytes_per_s", r->write_bytes);
	add(o, "device_read_ops_per_s", r->dev_read_ops);
	add(o, "device_read_us", r->dev_read_us);
	add(o, "device_write_ops_per_s", r->dev_write_ops);
	add(o, "device_write_us", r->dev_write_us);
	add(o, "device_flush_ops_per_s", r->dev_flush_ops);
	add(o, "device_flush_us", r->dev_flush_us);
	json_object_object_add(o, "in_flight", json_object_new_uint64(r->in_flight));
	add(o, "calls_per_s", r->calls);
	add(o, "recalls_per_s", r->recalls);
	adm_print_json(o);
	json_object_put(o);
}

static void sleep_until(double end_s)
{
	struct timespec ts = { .tv_sec = (time_t)end_s,
		.tv_nsec = (long)((end_s - (double)(time_t)end_s) * 1e9) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

int adm_io(const struct adm *adm)
{
	struct adm_vol vol = { 0 };
	int code = adm_pick(adm, &vol);
	double before_s = now_s();

	for (uint64_t i = 0; !code && (!adm->count || i < adm->count); i++) {
		struct pair p = { .before = vol.status };
		struct rates r;
		sleep_until(before_s + adm->interval_s);
		code = adm_request(adm, &vol, NULL, &p.now);
		if (code)
			break;
		double at_s = now_s();
		p.secs = at_s - before_s;
		get_rates(&p, &r);
		if (!adm->json && (i == 0 || (isatty(STDOUT_FILENO) && i % HEADER_EVERY == 0)))
			print_header();
		if (adm->json)
			print_rates_json(&vol, &r, p.secs);
		else
			print_rates(&r);
		json_object_put(vol.status);
		vol.status = p.now;
		before_s = at_s;
	}
	adm_vol_done(&vol);
	return code;
}

/* ---- the ring of messages ---- */

/* "2026-01-01T10:00:00.000000Z warning: text" */
static void print_message_json(char *text)
{
	struct json_object *o = json_object_new_object();
	char *level = strchr(text, ' '), *msg = level ? strstr(level, ": ") : NULL;

	if (msg) {
		*level++ = 0;
		*msg = 0;
		json_object_object_add(o, "time", json_object_new_string(text));
		json_object_object_add(o, "level", json_object_new_string(level));
		text = msg + 2;
	}
	json_object_object_add(o, "text", json_object_new_string(text));
	adm_print_json(o);
	json_object_put(o);
}

int adm_log(const struct adm *adm)
{
	struct json_object *answer = NULL;
	struct adm_vol vol;
	int code = adm_pick(adm, &vol);

	if (code)
		return code;
	code = adm_request(adm, &vol, "{\"cmd\":\"log\"}\n", &answer);
	char *text = code ? NULL : strdup(json_object_get_string(adm_get(answer, "log")) ?: ""), *rest;
	for (char *one = text ? strtok_r(text, "\n", &rest) : NULL; one;
		one = strtok_r(NULL, "\n", &rest)) {
		if (adm->json)
			print_message_json(one);
		else
			puts(one);
	}
	free(text);
	json_object_put(answer);
	adm_vol_done(&vol);
	return code;
}
