/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices: opening by URI, stacking, geometry, what all threads share. See bdev_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev_core_internal.h"

static const struct {
	const char *scheme;
	const struct bdev_ops *ops; /* NULL = left out of this build */
} backends[] = {
	{ "file", &bdev_file_ops },
	{ "ram", &bdev_ram_ops },
#ifdef HAVE_ISCSI
	{ "iscsi", &bdev_iscsi_ops },
#else
	{ "iscsi", NULL },
#endif
#ifdef HAVE_NBD
	{ "nbd", &bdev_nbd_ops },
	{ "nbds", &bdev_nbd_ops },
	{ "nbd+unix", &bdev_nbd_ops },
	{ "nbds+unix", &bdev_nbd_ops },
#else
	{ "nbd", NULL },
	{ "nbds", NULL },
	{ "nbd+unix", NULL },
	{ "nbds+unix", NULL },
#endif
};

static const char *const filters[] = { "fault", "delay", "stats", "crash", "overlay" };

static const struct {
	const char *prefix;
	int (*make)(struct bdev *lower, struct bdev **ret_bdev, char **ret_error);
} images[] = {
	{ "vhd:", bdev_vhd_new },
	{ "vhdx:", bdev_vhdx_new },
};

/* ---- making and freeing ---- */

static struct bdev *bdev_alloc(const struct bdev_ops *ops)
{
	struct bdev *bdev = calloc(1, MAX(ops->bdev_bytes, sizeof(*bdev)));

	if (!bdev)
		return NULL;
	bdev->ops = ops;
	list_init(&bdev->queues);
	atomic_store(&bdev->write_deadline_ns, UINT64_MAX);
	pthread_mutex_init(&bdev->lock, NULL);
	return bdev;
}

static void bdev_free(struct bdev *bdev)
{
	pthread_mutex_destroy(&bdev->lock);
	free((char *)bdev->opts.auth_file);
	free((char *)bdev->opts.tls_psk_file);
	free((char *)bdev->opts.initiator);
	free(bdev->name);
	free(bdev);
}

static int copy_text(const char **dst, const char *src)
{
	*dst = src ? strdup(src) : NULL;
	return src && !*dst ? -ENOMEM : 0;
}

static int copy_opts(struct bdev *bdev, const struct bdev_opts *opts)
{
	static const struct bdev_opts none;

	if (!opts)
		opts = &none;
	bdev->opts = (struct bdev_opts){
		.connect_timeout_ms = opts->connect_timeout_ms ? opts->connect_timeout_ms : 10000,
		.transport_timeout_ms = opts->transport_timeout_ms,
		.readonly = opts->readonly,
	};
	if (copy_text(&bdev->opts.auth_file, opts->auth_file) ||
		copy_text(&bdev->opts.tls_psk_file, opts->tls_psk_file) ||
		copy_text(&bdev->opts.initiator, opts->initiator))
		return -ENOMEM;
	return 0;
}

/* What the common code relies on; a device may announce anything. */
static int settle_geom(struct bdev *bdev, char **ret_error)
{
	struct bdev_geom *g = &bdev->geom;

	if (g->block_bytes != 512 && g->block_bytes != 4096)
		return bdev_fail(ret_error, -ENOTSUP,
			"%s: blocks of %u bytes; only 512 and 4096 are supported", bdev->name,
			g->block_bytes);
	g->size_bytes = ALIGN_DOWN(g->size_bytes, g->block_bytes);
	if (g->phys_bytes < g->block_bytes)
		g->phys_bytes = g->block_bytes;
	if (g->mem_align == 0)
		g->mem_align = 1;
	g->max_io_bytes = ALIGN_DOWN(g->max_io_bytes, g->block_bytes);
	if (g->max_io_bytes == 0)
		g->max_io_bytes = ALIGN_DOWN(UINT32_MAX / 2, 4096u);
	g->max_zero_bytes = ALIGN_DOWN(g->max_zero_bytes, g->block_bytes);
	if (g->max_zero_bytes == 0)
		g->max_zero_bytes = ALIGN_DOWN(UINT64_MAX / 2, 4096ull);
	if (bdev->opts.readonly)
		g->caps |= BDEV_READONLY;
	atomic_store(&bdev->size_bytes, g->size_bytes);
	atomic_store(&bdev->caps, g->caps);
	return 0;
}

/* ---- opening ---- */

static int find_backend(const char *scheme, const struct bdev_ops **ret_ops, char **ret_error)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
		if (strcmp(backends[i].scheme, scheme) != 0)
			continue;
		if (!backends[i].ops)
			return bdev_fail(ret_error, -ENOTSUP,
				"this build of csvfs has no support for %s devices", scheme);
		*ret_ops = backends[i].ops;
		return 0;
	}
	return bdev_fail(ret_error, -EINVAL,
		"unknown device scheme \"%s\"; known are iscsi, nbd, nbds, nbd+unix, file, ram",
		scheme);
}

static int open_backend(
	const char *text, const struct bdev_opts *opts, struct bdev **ret_bdev, char **ret_error)
{
	const struct bdev_ops *ops = NULL;
	struct bdev *bdev = NULL;
	struct bdev_uri *uri;
	int err = bdev_uri_parse(text, &uri, ret_error);

	if (err)
		return err;
	err = find_backend(uri->scheme, &ops, ret_error);
	if (err)
		goto out;
	err = -ENOMEM;
	bdev = bdev_alloc(ops);
	if (!bdev || copy_opts(bdev, opts))
		goto out;
	bdev->name = strdup(uri->text);
	if (!bdev->name)
		goto out;
	if (bdev->opts.auth_file) {
		err = bdev_uri_read_auth(uri, bdev->opts.auth_file, ret_error);
		if (err)
			goto out;
	}
	err = ops->open(bdev, uri, ret_error);
	if (err)
		goto out;
	err = settle_geom(bdev, ret_error);
	if (err && ops->close)
		ops->close(bdev);
out:
	bdev_uri_free(uri);
	if (err) {
		if (bdev)
			bdev_free(bdev);
		return err;
	}
	*ret_bdev = bdev;
	return 0;
}

/* If text begins with a filter, splits it: "name(args)|rest" or "name|rest". */
static int split_filter(const char *text, char **ret_name, char **ret_args, const char **ret_rest)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz");
	const char *args = "", *end = text + n;
	size_t args_len = 0;
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		known |= strlen(filters[i]) == n && strncmp(filters[i], text, n) == 0;
	if (!known)
		return 0;
	if (*end == '(') {
		args = end + 1;
		args_len = strcspn(args, ")");
		end = args + args_len;
		if (*end != ')')
			return -EINVAL;
		end++;
	}
	if (*end != '|')
		return -EINVAL;
	*ret_name = strndup(text, n);
	*ret_args = strndup(args, args_len);
	*ret_rest = end + 1;
	return *ret_name && *ret_args ? 0 : -ENOMEM;
}

/* "vhd:DEVICE": an image, of images[nr]. */
static int open_image(size_t nr, const char *text, const struct bdev_opts *opts,
	struct bdev **ret_bdev, char **ret_error)
{
	struct bdev *lower;
	int err = bdev_open(text + strlen(images[nr].prefix), opts, &lower, ret_error);

	if (err)
		return err;
	err = images[nr].make(lower, ret_bdev, ret_error);
	if (err)
		bdev_close(lower);
	return err;
}

int bdev_open(
	const char *text, const struct bdev_opts *opts, struct bdev **ret_bdev, char **ret_error)
{
	char *name = NULL, *args = NULL;
	const char *rest = NULL;
	struct bdev *lower;
	int err;

	if (ret_error)
		*ret_error = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(images); i++) {
		if (strncmp(text, images[i].prefix, strlen(images[i].prefix)) == 0) {
			err = open_image(i, text, opts, ret_bdev, ret_error);
			goto out;
		}
	}
	err = split_filter(text, &name, &args, &rest);
	if (err == -EINVAL)
		bdev_fail(ret_error, err, "a filter is written name(args)|device");
	if (err || !name) {
		if (!err)
			err = open_backend(text, opts, ret_bdev, ret_error);
		goto out;
	}
	err = bdev_open(rest, opts, &lower, ret_error);
	if (err)
		goto out;
	err = bdev_filter_parse(name, args, lower, ret_bdev, ret_error);
	if (err)
		bdev_close(lower);
out:
	free(name);
	free(args);
	if (err)
		bdev_fail(ret_error, err, "cannot open the device: %s", err_str(err));
	return err;
}

int bdev_filter_new(const struct bdev_ops *ops, struct bdev *lower, struct bdev **ret_bdev)
{
	struct bdev *bdev = bdev_alloc(ops);

	assert(!lower->upper && list_empty(&lower->queues));
	if (!bdev)
		return -ENOMEM;
	if (copy_opts(bdev, &lower->opts) ||
		asprintf(&bdev->name, "%s|%s", ops->name, lower->name) < 0) {
		bdev_free(bdev);
		return -ENOMEM;
	}
	bdev->geom = lower->geom;
	bdev->can_lun_reset = lower->can_lun_reset;
	atomic_store(&bdev->size_bytes, atomic_load(&lower->size_bytes));
	atomic_store(&bdev->caps, atomic_load(&lower->caps));
	bdev->lower = lower;
	lower->upper = bdev;
	*ret_bdev = bdev;
	return 0;
}

void bdev_close(struct bdev *bdev)
{
	if (!bdev)
		return;
	assert(list_empty(&bdev->queues));
	assert(!bdev->upper);
	if (bdev->ops->close)
		bdev->ops->close(bdev);
	if (bdev->lower) {
		bdev->lower->upper = NULL;
		bdev_close(bdev->lower);
	}
	bdev_free(bdev);
}

/* ---- what any thread may ask or set ---- */

const char *bdev_name(const struct bdev *bdev)
{
	return bdev->name;
}

struct bdev_geom bdev_geom(const struct bdev *bdev)
{
	struct bdev_geom geom = bdev->geom;

	geom.size_bytes = atomic_load_explicit(&bdev->size_bytes, memory_order_relaxed);
	geom.caps = atomic_load_explicit(&bdev->caps, memory_order_relaxed);
	return geom;
}

void bdev_set_notify(struct bdev *bdev, void (*fn)(void *arg, enum bdev_event ev), void *arg)
{
	assert(list_empty(&bdev->queues));
	bdev->notify_fn = fn;
	bdev->notify_arg = arg;
}

void bdev_set_gate(struct bdev *bdev, void (*fn)(void *arg, struct bdev_queue *queue), void *arg)
{
	assert(list_empty(&bdev->queues));
	bdev->gate_fn = fn;
	bdev->gate_arg = arg;
}

void bdev_notify(struct bdev *bdev, enum bdev_event ev, bool own_only)
{
	for (; bdev; bdev = own_only ? NULL : bdev->upper)
		if (bdev->notify_fn)
			bdev->notify_fn(bdev->notify_arg, ev);
}

void bdev_set_size(struct bdev *bdev, uint64_t size_bytes)
{
	struct bdev *b;

	size_bytes = ALIGN_DOWN(size_bytes, bdev->geom.block_bytes);
	if (atomic_exchange(&bdev->size_bytes, size_bytes) == size_bytes)
		return;
	bdev_notify(bdev, BDEV_RESIZED, true);
	for (b = bdev->upper; b && !b->own_size; b = b->upper) {
		atomic_store(&b->size_bytes, size_bytes);
		bdev_notify(b, BDEV_RESIZED, true);
	}
}

int bdev_grow(struct bdev *bdev, uint64_t size_bytes)
{
	int err;

	bdev = bdev_bottom(bdev);
	size_bytes = ALIGN_UP(size_bytes, bdev->geom.block_bytes);
	if (size_bytes <= atomic_load(&bdev->size_bytes))
		return 0;
	if (!bdev->ops->grow)
		return -ENOSPC;
	err = bdev->ops->grow(bdev, size_bytes);
	if (!err)
		bdev_set_size(bdev, size_bytes);
	return err;
}

void bdev_drop_cap(struct bdev *bdev, uint32_t cap)
{
	for (; bdev; bdev = bdev->upper)
		atomic_fetch_and(&bdev->caps, ~cap);
}

/*
 * The deadline is stored first, then nr_late is read; a queue raises nr_late first, then reads the
 * deadline again (bdev_queue_hold_late). One of the two sees the other, so no write stays behind.
 */
void bdev_set_write_deadline(struct bdev *bdev, uint64_t mono_ns)
{
	struct list *pos;

	bdev = bdev_bottom(bdev);
	atomic_store(&bdev->write_deadline_ns, mono_ns);
	pthread_mutex_lock(&bdev->lock);
	list_for_each(pos, &bdev->queues) {
		struct bdev_queue *queue = list_entry(pos, struct bdev_queue, link);

		if (atomic_load(&queue->nr_late) > 0)
			bdev_queue_wake(queue);
	}
	pthread_mutex_unlock(&bdev->lock);
}

/* As above with in_flight: bdev_submit() raises it, then looks at fenced. */
void bdev_fence_self(struct bdev *bdev)
{
	struct list *pos;

	for (; bdev; bdev = bdev->lower) {
		atomic_store(&bdev->fenced, true);
		pthread_mutex_lock(&bdev->lock);
		list_for_each(pos, &bdev->queues) {
			struct bdev_queue *queue = list_entry(pos, struct bdev_queue, link);

			if (atomic_load(&queue->in_flight) > 0)
				bdev_queue_wake(queue);
		}
		pthread_mutex_unlock(&bdev->lock);
	}
}

/* ---- counters ---- */

static void sum_queues(struct bdev *bdev, struct bdev_counters *sum)
{
	struct list *pos;

	pthread_mutex_lock(&bdev->lock);
	*sum = bdev->closed;
	list_for_each(pos, &bdev->queues)
		bdev_stats_sum(list_entry(pos, struct bdev_queue, link), sum);
	pthread_mutex_unlock(&bdev->lock);
}

void bdev_counters(const struct bdev *bdev, struct bdev_counters *ret_counters)
{
	struct bdev *bottom = bdev_bottom(bdev);
	struct bdev_counters below;

	sum_queues((struct bdev *)bdev, ret_counters);
	if (bottom == bdev)
		return;
	/* Paths, gates and deadlines are known at the bottom only. */
	sum_queues(bottom, &below);
	ret_counters->reconnects = below.reconnects;
	ret_counters->resends = below.resends;
	ret_counters->gate_closings = below.gate_closings;
	ret_counters->held_by_deadline = below.held_by_deadline;
}
