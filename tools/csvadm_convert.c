/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvadm image convert, create: disk images, by blockdev/. Works on any file system.
 *
 * C1  The new image has a name of its own until it is whole and on the disk; then it gets its name, and
 *     takes nobody else's unless it is told to.
 * C2  What reads as zeroes is not written, so it stays a hole, and a block without any is not allocated.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "blockdev/image.h"
#include "tools/csvadm.h"
#include "tools/tool.h"
#include "util/checked.h"
#include "util/err.h"

#define CHUNK (1u << 20)
#define GRAIN (64u << 10) /* shorter runs of zeroes are written */
#define AT_ONCE 8

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = sig;
}

static int failed(const char *path, int err, char *text)
{
	int code = err == -EACCES || err == -EPERM ? ADM_DENIED : ADM_FAILED;

	adm_fail(code, "%s: %s", path, text ? text : err_str(err));
	free(text);
	return code;
}

/* ---- opening ---- */

/* A disk, and one queue to it. */
struct disk {
	struct bdev *bdev;
	struct bdev_queue *queue;
};

static int open_bdev(const char *path, enum image_format format, bool readonly, struct bdev **ret_bdev)
{
	struct bdev_opts opts = { .readonly = readonly };
	char *uri, *text = NULL;
	int err;

	if (asprintf(&uri, "%s%sfile:%s", format == IMAGE_RAW ? "" : image_names[format],
		    format == IMAGE_RAW ? "" : ":", path) < 0)
		return failed(path, -ENOMEM, NULL);
	err = bdev_open(uri, &opts, ret_bdev, &text);
	free(uri);
	return err ? failed(path, err, text) : ADM_OK;
}

static int open_disk(const char *path, enum image_format format, bool readonly, struct loop *loop,
	struct disk *disk)
{
	int err, code = open_bdev(path, format, readonly, &disk->bdev);

	if (code)
		return code;
	err = bdev_queue_open(disk->bdev, loop, &disk->queue);
	return err ? failed(path, err, NULL) : ADM_OK;
}

static void close_disk(struct disk *disk)
{
	bdev_queue_close(disk->queue);
	bdev_close(disk->bdev);
}

static int probe(const char *path, enum image_format *ret_format)
{
	char *uri, *text = NULL;
	int err;

	if (asprintf(&uri, "file:%s", path) < 0)
		return failed(path, -ENOMEM, NULL);
	err = image_probe(uri, ret_format, &text);
	free(uri);
	return err ? failed(path, err, text) : ADM_OK;
}

int adm_image_describe(const char *path, struct image_info *ret_info)
{
	enum image_format format;
	struct bdev *bdev;
	int code = probe(path, &format);

	if (!code)
		code = open_bdev(path, format, true, &bdev);
	if (code)
		return code;
	image_info(bdev, ret_info);
	bdev_close(bdev);
	return ADM_OK;
}

/* ---- the new image (C1) ---- */

struct target {
	const char *path;
	char *tmp;
	int fd;
	struct image_info spec;
};

/* The format: as it is told, or by the name's end. */
static int choose(const struct adm *adm, const char *path, struct image_info *spec)
{
	const char *dot = strrchr(path, '.');
	const char *name = adm->format ? adm->format : dot ? dot + 1 : "";

	spec->format = IMAGE_NR_FORMATS;
	for (int f = 0; f < IMAGE_NR_FORMATS; f++)
		if (!strcasecmp(image_names[f], name))
			spec->format = f;
	if (spec->format == IMAGE_NR_FORMATS && adm->format)
		return adm_fail(ADM_USAGE, "--format: \"%s\": raw, vhd or vhdx", adm->format);
	if (spec->format == IMAGE_NR_FORMATS)
		spec->format = IMAGE_RAW;
	if (spec->format == IMAGE_RAW && (adm->fixed || adm->dynamic))
		return adm_fail(ADM_USAGE, "--fixed and --dynamic are for vhd and vhdx; give --format");
	if (adm->fixed && adm->dynamic)
		return adm_fail(ADM_USAGE, "either --fixed or --dynamic");
	spec->fixed = adm->fixed;
	return ADM_OK;
}

static int exists(const char *path)
{
	return adm_fail(ADM_FAILED, "%s: exists; --force replaces it", path);
}

static int make_target(const struct adm *adm, struct target *t)
{
	mode_t mask = umask(0);
	struct bdev *bdev;
	struct stat st;
	char *text = NULL;
	int err, code;

	umask(mask);
	t->fd = -1;
	t->tmp = NULL;
	if (!lstat(t->path, &st)) {
		if (!adm->force)
			return exists(t->path);
		if (!S_ISREG(st.st_mode))
			return adm_fail(ADM_FAILED, "%s: not a regular file", t->path);
	}
	if (asprintf(&t->tmp, "%s.XXXXXX", t->path) < 0) {
		t->tmp = NULL;
		return failed(t->path, -ENOMEM, NULL);
	}
	t->fd = mkostemp(t->tmp, O_CLOEXEC);
	if (t->fd < 0)
		return failed(t->path, -errno, NULL);
	if (fchmod(t->fd, 0666 & ~mask))
		return failed(t->path, -errno, NULL);
	code = open_bdev(t->tmp, IMAGE_RAW, false, &bdev);
	if (code)
		return code;
	err = image_make(bdev, &t->spec, &text);
	bdev_close(bdev);
	return err ? failed(t->path, err, text) : ADM_OK;
}

static int sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int err = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return err == -EINVAL ? 0 : err;
}

/* Gives it its name, or takes it away. */
static int end_target(const struct adm *adm, struct target *t, int code)
{
	if (!code && stopped)
		code = adm_fail(ADM_FAILED, "%s: interrupted; nothing was made", t->path);
	if (!code && fsync(t->fd))
		code = failed(t->path, -errno, NULL);
	/* A link takes nobody's name. */
	if (!code && (adm->force ? rename(t->tmp, t->path) : link(t->tmp, t->path)))
		code = errno == EEXIST ? exists(t->path) : failed(t->path, -errno, NULL);
	if (t->fd >= 0) {
		if (code || !adm->force)
			unlink(t->tmp);
		close(t->fd);
	}
	if (!code) {
		int err = sync_folder(t->path);
		code = err ? failed(t->path, err, NULL) : ADM_OK;
	}
	free(t->tmp);
	return code;
}

static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

/* ---- copying ---- */

struct copy {
	struct loop *loop;
	struct disk src, dst;
	uint64_t size, pos, written;
	unsigned busy;
	int err;
	bool src_failed;
	struct slot {
		struct copy *c;
		struct bdev_req req;
		struct iovec iov;
		uint8_t *buf;
		uint64_t off, len, at; /* at: what is dealt with */
		bool reading, used;
	} slots[AT_ONCE];
};

static bool is_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static void slot_done(struct bdev_req *req, int status);

static void slot_end(struct slot *s, int err)
{
	if (err && !s->c->err) {
		s->c->err = err;
		s->c->src_failed = s->reading;
	}
	s->used = false;
	s->c->busy--;
}

static void slot_send(struct slot *s, enum bdev_op op, uint64_t at, uint64_t len)
{
	struct disk *disk = op == BDEV_READ ? &s->c->src : &s->c->dst;
	int err;

	s->reading = op == BDEV_READ;
	s->iov = (struct iovec){ s->buf + at, len };
	s->req = (struct bdev_req){ .op = op, .off_bytes = s->off + at, .len_bytes = len,
		.iov = &s->iov, .nr_iov = 1, .done = slot_done, .arg = s };
	err = bdev_submit(disk->queue, &s->req);
	if (err)
		slot_end(s, err);
}

/* Writes the next run that is not zero (C2). */
static void slot_write(struct slot *s)
{
	uint64_t from, n;

	for (; s->at < s->len; s->at += n) {
		n = MIN(GRAIN, s->len - s->at);
		if (!is_zero(s->buf + s->at, n))
			break;
	}
	for (from = s->at; s->at < s->len; s->at += n) {
		n = MIN(GRAIN, s->len - s->at);
		if (is_zero(s->buf + s->at, n))
			break;
	}
	if (from == s->at) {
		slot_end(s, 0);
		return;
	}
	s->c->written += s->at - from;
	slot_send(s, BDEV_WRITE, from, s->at - from);
}

static void slot_done(struct bdev_req *req, int status)
{
	struct slot *s = req->arg;

	if (status || s->c->err || stopped)
		slot_end(s, status);
	else
		slot_write(s);
}

/* False: there is no more. */
static bool start_next(struct copy *c, struct slot *s)
{
	uint64_t len = 0;
	bool zero = true;

	while (c->pos < c->size && zero) {
		bdev_extent(c->src.bdev, c->pos, &len, &zero);
		/* Extents of files have any length; requests are of whole grains. */
		if (zero && c->pos + len < c->size)
			len = ALIGN_DOWN(len, GRAIN);
		if (zero && len)
			c->pos += len;
		else
			zero = false;
	}
	if (c->pos >= c->size)
		return false;
	s->c = c;
	s->off = c->pos;
	s->len = MIN(CHUNK - c->pos % CHUNK, c->size - c->pos);
	s->at = 0;
	s->used = true;
	c->busy++;
	c->pos += s->len;
	slot_send(s, BDEV_READ, 0, s->len);
	return true;
}

static int run_copy(struct copy *c, const char *label)
{
	bool more = true;

	for (int i = 0; i < AT_ONCE; i++)
		if (posix_memalign((void **)&c->slots[i].buf, 4096, CHUNK))
			return -ENOMEM;
	while (more || c->busy) {
		for (int i = 0; i < AT_ONCE && more; i++) {
			if (!c->slots[i].used)
				more = !c->err && !stopped && start_next(c, &c->slots[i]);
		}
		tool_progress(label, MIN(c->pos, c->size - 1), c->size);
		if (c->busy)
			loop_run_once(c->loop, true);
	}
	if (!c->err && !stopped) {
		c->err = bdev_flush_sync(c->dst.queue);
		if (!c->err)
			tool_progress(label, c->size, c->size);
	}
	return c->err;
}

static int copy_disk(const struct adm *adm, enum image_format src_format, struct target *t,
	uint64_t *ret_written)
{
	struct copy *c = calloc(1, sizeof(*c));
	int code, err;

	if (!c || loop_new(&c->loop)) {
		free(c);
		return failed(adm->file, -ENOMEM, NULL);
	}
	code = open_disk(adm->file, src_format, true, c->loop, &c->src);
	if (!code)
		code = open_disk(t->tmp, t->spec.format, false, c->loop, &c->dst);
	if (!code) {
		c->size = t->spec.size_bytes;
		err = run_copy(c, adm->new_file);
		if (err)
			code = failed(c->src_failed ? adm->file : adm->new_file, err, NULL);
		*ret_written = c->written;
	}
	for (int i = 0; i < AT_ONCE; i++)
		free(c->slots[i].buf);
	close_disk(&c->src);
	close_disk(&c->dst);
	loop_free(c->loop);
	free(c);
	return code;
}

/* ---- commands ---- */

static void add_spec(struct json_object *o, const struct image_info *spec)
{
	json_object_object_add(o, "format", json_object_new_string(image_names[spec->format]));
	json_object_object_add(o, "fixed", json_object_new_boolean(spec->fixed));
	json_object_object_add(o, "disk_bytes", json_object_new_uint64(spec->size_bytes));
}

int adm_image_convert(const struct adm *adm)
{
	struct target t = { .path = adm->new_file, .fd = -1 };
	uint64_t written = 0, begin_ns = clock_mono_ns();
	struct image_info src;
	struct stat st;
	int code = choose(adm, adm->new_file, &t.spec);

	if (!code)
		code = adm_image_describe(adm->file, &src);
	if (code)
		return code;
	if (src.format == IMAGE_RAW && !stat(adm->file, &st) && S_ISREG(st.st_mode) &&
		(st.st_size % 512 || !st.st_size))
		return adm_fail(ADM_FAILED,
			"%s: not whole sectors of 512 bytes; truncate -s %%512 makes it so", adm->file);
	t.spec.size_bytes = src.size_bytes;
	t.spec.sector_bytes = src.format == IMAGE_VHDX ? src.sector_bytes : 512;
	catch_signals();
	code = make_target(adm, &t);
	if (!code)
		code = copy_disk(adm, src.format, &t, &written);
	code = end_target(adm, &t, code);
	if (code || !adm->json)
		return code;
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "file", json_object_new_string(adm->file));
	json_object_object_add(o, "new_file", json_object_new_string(adm->new_file));
	add_spec(o, &t.spec);
	json_object_object_add(o, "written_bytes", json_object_new_uint64(written));
	json_object_object_add(o, "took_ms",
		json_object_new_uint64((clock_mono_ns() - begin_ns) / 1000000));
	adm_print_json(o);
	json_object_put(o);
	return ADM_OK;
}

int adm_image_create(const struct adm *adm)
{
	struct target t = { .path = adm->file, .fd = -1 };
	int code = choose(adm, adm->file, &t.spec);

	if (code)
		return code;
	if (tool_parse_size(adm->new_file, &t.spec.size_bytes) || !t.spec.size_bytes ||
		t.spec.size_bytes % 512 || t.spec.size_bytes > INT64_MAX)
		return adm_fail(ADM_USAGE,
			"\"%s\" is no size: bytes, or with k, M, G, T; a multiple of 512", adm->new_file);
	catch_signals();
	code = end_target(adm, &t, make_target(adm, &t));
	if (code || !adm->json)
		return code;
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "file", json_object_new_string(adm->file));
	add_spec(o, &t.spec);
	adm_print_json(o);
	json_object_put(o);
	return ADM_OK;
}
