/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ram:SIZE, a device in memory, with persistent reservations per queue as a SCSI target has them.
 *
 * R1  A disk's lock covers its bytes and its reservations: a write that passed the check has been
 *     carried out before a PREEMPT is.
 * R2  Disks with a name live as long as a bdev of this process has them open.
 * R3  While a disk is cut, a queue that is asked for something loses its path, and looks again
 *     every few ms.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "blockdev/ram_internal.h"

struct ram_disk {
	struct list link; /* disks */
	char *name;	  /* NULL = private */
	int refs;
	char *mem;
	uint64_t size_bytes, shown_bytes;
	pthread_mutex_t lock;
	struct ram_pr pr;
	struct ram_cache cache;
	bool cut;
};

struct ram {
	struct bdev bdev;
	struct ram_disk *disk;
};

struct ram_queue {
	struct bdev_queue queue;
	struct ram_nexus nexus;
	struct ev_timer retry; /* runs while the path is down */
};

static struct list disks = LIST_INIT(disks);
static pthread_mutex_t disks_lock = PTHREAD_MUTEX_INITIALIZER;

static struct ram_disk *to_disk(const struct bdev *bdev)
{
	return container_of(bdev, struct ram, bdev)->disk;
}

/* ---- requests ---- */

/* DISCARD and WRITE_ZEROES: whole pages go back to the kernel and read as zeroes. */
static void zero_range(char *p, uint64_t n)
{
	uint64_t page = 4096, head = MIN((page - ((uintptr_t)p & (page - 1))) & (page - 1), n);
	uint64_t middle = ALIGN_DOWN(n - head, page);

	memset(p, 0, head);
	if (middle && madvise(p + head, middle, MADV_DONTNEED) < 0)
		memset(p + head, 0, middle);
	memset(p + head + middle, 0, n - head - middle);
}

static int change(struct ram_disk *disk, struct ram_nexus *nexus, struct bdev_io *io)
{
	char *at = disk->mem + io->off_bytes;
	int err = ram_pr_check_write(&disk->pr, nexus);

	if (err)
		return err;
	/* The common code emulates what the device has not got. */
	assert(!(io->flags & BDEV_FUA) || (io->queue->bdev->geom.caps & BDEV_CAN_FUA));
	if (io->op == BDEV_WRITE)
		bdev_iov_to_buf(io->iov, io->nr_iov, at, io->len_bytes);
	else
		zero_range(at, io->len_bytes);
	ram_cache_changed(&disk->cache, io->off_bytes, io->len_bytes, io->flags & BDEV_FUA);
	return 0;
}

static int carry_out(struct ram_disk *disk, struct ram_nexus *nexus, struct bdev_io *io)
{
	switch (io->op) {
	case BDEV_READ:
		bdev_iov_from_buf(io->iov, io->nr_iov, disk->mem + io->off_bytes, io->len_bytes);
		return 0;
	case BDEV_WRITE:
	case BDEV_DISCARD:
	case BDEV_WRITE_ZEROES:
		return change(disk, nexus, io);
	case BDEV_FLUSH:
		ram_cache_flush(&disk->cache);
		return 0;
	case BDEV_LUN_RESET:
		ram_pr_attention(&disk->pr, nexus);
		return 0;
	case BDEV_MEASURE:
		bdev_set_size(io->queue->bdev, disk->shown_bytes);
		return 0;
	default:
		return ram_pr_command(&disk->pr, nexus, io->op, io->pr);
	}
}

static void ram_submit(struct bdev_queue *queue, struct bdev_io *io)
{
	struct ram_queue *rq = container_of(queue, struct ram_queue, queue);
	struct ram_disk *disk = to_disk(queue->bdev);
	bool cut, attention = false;
	int err = 0;

	pthread_mutex_lock(&disk->lock);
	cut = disk->cut;
	if (!cut) {
		attention = rq->nexus.attention;
		rq->nexus.attention = false;
	}
	if (!cut && !attention)
		err = carry_out(disk, &rq->nexus, io);
	pthread_mutex_unlock(&disk->lock);
	if (cut) {
		bdev_queue_path_lost(queue);
		bdev_io_requeue(io);
		ev_timer_again(loop_ev(queue->loop), &rq->retry);
	} else if (attention) {
		bdev_queue_gate_close(queue);
		bdev_io_requeue(io);
	} else {
		bdev_io_complete(io, err);
	}
}

/* The path is down (R3). */
static void retry_cb(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct bdev_queue *queue = timer->data;
	struct ram_disk *disk = to_disk(queue->bdev);
	bool cut;

	pthread_mutex_lock(&disk->lock);
	cut = disk->cut;
	pthread_mutex_unlock(&disk->lock);
	if (cut)
		return;
	ev_timer_stop(ev, timer);
	bdev_queue_path_up(queue);
}

/* ---- what tests do to it ---- */

static struct ram_disk *find_disk(struct bdev *bdev)
{
	while (bdev->lower)
		bdev = bdev->lower;
	assert(bdev->ops == &bdev_ram_ops);
	return to_disk(bdev);
}

void bdev_ram_restart(struct bdev *bdev)
{
	struct ram_disk *disk = find_disk(bdev);

	pthread_mutex_lock(&disk->lock);
	ram_pr_forget(&disk->pr);
	pthread_mutex_unlock(&disk->lock);
}

void bdev_ram_cut(struct bdev *bdev, bool cut)
{
	struct ram_disk *disk = find_disk(bdev);

	pthread_mutex_lock(&disk->lock);
	disk->cut = cut;
	pthread_mutex_unlock(&disk->lock);
}

void bdev_ram_show(struct bdev *bdev, uint64_t size_bytes)
{
	struct ram_disk *disk = find_disk(bdev);

	pthread_mutex_lock(&disk->lock);
	assert(size_bytes <= disk->size_bytes);
	disk->shown_bytes = size_bytes;
	pthread_mutex_unlock(&disk->lock);
}

void bdev_ram_power_loss(struct bdev *bdev)
{
	struct ram_disk *disk = find_disk(bdev);

	pthread_mutex_lock(&disk->lock);
	ram_cache_power_loss(&disk->cache);
	pthread_mutex_unlock(&disk->lock);
}

/* ---- opening ---- */

static void disk_free(struct ram_disk *disk)
{
	ram_cache_destroy(&disk->cache);
	if (disk->mem)
		munmap(disk->mem, disk->size_bytes);
	pthread_mutex_destroy(&disk->lock);
	free(disk->name);
	free(disk);
}

static int disk_new(const char *name, uint64_t size_bytes, bool cache, struct ram_disk **ret_disk)
{
	struct ram_disk *disk = calloc(1, sizeof(*disk));
	void *mem;

	if (!disk)
		return -ENOMEM;
	disk->size_bytes = disk->shown_bytes = size_bytes;
	disk->refs = 1;
	pthread_mutex_init(&disk->lock, NULL);
	ram_pr_init(&disk->pr);
	list_init(&disk->link);
	mem = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		goto out;
	disk->mem = mem;
	disk->name = name ? strdup(name) : NULL;
	if (name && !disk->name)
		goto out;
	if (cache && ram_cache_init(&disk->cache, disk->mem, size_bytes))
		goto out;
	*ret_disk = disk;
	return 0;
out:
	disk_free(disk);
	return -ENOMEM;
}

/* cache counts for who makes it. */
static int disk_get(const char *name, uint64_t size_bytes, bool cache, struct ram_disk **ret_disk)
{
	struct ram_disk *disk = NULL;
	struct list *pos;
	int err = 0;

	if (!name)
		return disk_new(NULL, size_bytes, cache, ret_disk);
	pthread_mutex_lock(&disks_lock);
	list_for_each(pos, &disks) {
		struct ram_disk *d = list_entry(pos, struct ram_disk, link);

		if (strcmp(d->name, name) == 0)
			disk = d;
	}
	if (!disk) {
		err = disk_new(name, size_bytes, cache, &disk);
		if (!err)
			list_add_tail(&disks, &disk->link);
	} else if (disk->size_bytes != size_bytes) {
		err = -EINVAL;
	} else {
		disk->refs++;
	}
	pthread_mutex_unlock(&disks_lock);
	if (!err)
		*ret_disk = disk;
	return err;
}

static void disk_put(struct ram_disk *disk)
{
	bool last;

	pthread_mutex_lock(&disks_lock);
	last = --disk->refs == 0;
	if (last)
		list_del(&disk->link);
	pthread_mutex_unlock(&disks_lock);
	if (last)
		disk_free(disk);
}

/* "no=fua+flush": takes caps away, to try what the common code does without them. */
static int drop_caps(uint32_t *caps, const char *text)
{
	static const struct {
		const char *name;
		uint32_t caps;
	} names[] = { { "flush", BDEV_CAN_FLUSH }, { "fua", BDEV_CAN_FUA },
		{ "discard", BDEV_CAN_DISCARD },
		{ "zeroes", BDEV_CAN_WRITE_ZEROES | BDEV_CHEAP_ZEROES },
		{ "pr", BDEV_CAN_PR | BDEV_CAN_PR_ABORT }, { "abort", BDEV_CAN_PR_ABORT } };

	while (*text) {
		size_t n = strcspn(text, "+"), i;

		for (i = 0; i < ARRAY_SIZE(names); i++)
			if (strlen(names[i].name) == n && strncmp(names[i].name, text, n) == 0)
				break;
		if (i == ARRAY_SIZE(names))
			return -EINVAL;
		*caps &= ~names[i].caps;
		text += n;
		text += *text == '+';
	}
	return 0;
}

/* One parameter of the query, into geom. -EINVAL if it is none of ours. */
static int set_param(struct bdev_geom *geom, const char *key, const char *value)
{
	uint64_t n = 0;

	if (strcmp(key, "no") == 0)
		return drop_caps(&geom->caps, value);
	if (strcmp(key, "name") == 0)
		return *value ? 0 : -EINVAL;
	if (strcmp(key, "cache") == 0)
		return *value ? -EINVAL : 0;
	if (bdev_parse_size(value, &n) || n == 0 || n > UINT32_MAX)
		return -EINVAL;
	if (strcmp(key, "block") == 0)
		geom->block_bytes = (uint32_t)n;
	else if (strcmp(key, "max_io") == 0)
		geom->max_io_bytes = (uint32_t)n;
	else
		return -EINVAL;
	return 0;
}

static int set_params(struct bdev_geom *geom, const struct bdev_uri *uri, char **ret_error)
{
	char *query = uri->query ? strdup(uri->query) : NULL, *save = NULL;
	int err = uri->query && !query ? -ENOMEM : 0;

	for (char *p = query ? strtok_r(query, "&", &save) : NULL; p && !err;
		p = strtok_r(NULL, "&", &save)) {
		char *eq = strchr(p, '=');

		if (eq)
			*eq = '\0';
		err = set_param(geom, p, eq ? eq + 1 : "");
		if (err)
			bdev_fail(ret_error, err, "%s: bad parameter \"%s\"", uri->text, p);
	}
	free(query);
	return err;
}

static int ram_open(struct bdev *bdev, const struct bdev_uri *uri, char **ret_error)
{
	struct bdev_geom *geom = &bdev->geom;
	char *name = bdev_uri_param(uri, "name"), *cache = bdev_uri_param(uri, "cache");
	int err;

	*geom = (struct bdev_geom){
		.block_bytes = 512,
		.phys_bytes = 4096,
		.max_io_bytes = 1 << 20,
		.mem_align = 1,
		.caps = BDEV_CAN_FLUSH | BDEV_CAN_FUA | BDEV_CAN_DISCARD | BDEV_CAN_WRITE_ZEROES |
			BDEV_CHEAP_ZEROES | BDEV_CAN_PR | BDEV_CAN_PR_ABORT | BDEV_GLOBAL_FLUSH |
			(name ? BDEV_SHARED : 0),
	};
	bdev->can_lun_reset = true;
	err = bdev_parse_size(uri->path, &geom->size_bytes);
	if (err || geom->size_bytes == 0 || geom->size_bytes > UINT64_MAX / 2) {
		err = bdev_fail(
			ret_error, -EINVAL, "%s: expected ram:SIZE, e.g. ram:64M", uri->text);
		goto out;
	}
	err = set_params(geom, uri, ret_error);
	if (err)
		goto out;
	err = disk_get(
		name, geom->size_bytes, cache != NULL, &container_of(bdev, struct ram, bdev)->disk);
	if (err == -EINVAL)
		bdev_fail(ret_error, err, "%s: it exists with another size", uri->text);
	else if (err)
		bdev_fail(ret_error, err, "%s: no memory", uri->text);
	else
		geom->size_bytes = container_of(bdev, struct ram, bdev)->disk->shown_bytes;
out:
	free(name);
	free(cache);
	return err;
}

static void ram_close(struct bdev *bdev)
{
	disk_put(to_disk(bdev));
}

static int ram_queue_open(struct bdev_queue *queue)
{
	struct ram_queue *rq = container_of(queue, struct ram_queue, queue);
	struct ram_disk *disk = to_disk(queue->bdev);

	ev_timer_init(&rq->retry, retry_cb, 0, 0.005);
	rq->retry.data = queue;
	pthread_mutex_lock(&disk->lock);
	ram_pr_join(&disk->pr, &rq->nexus);
	pthread_mutex_unlock(&disk->lock);
	return 0;
}

static void ram_queue_close(struct bdev_queue *queue)
{
	struct ram_queue *rq = container_of(queue, struct ram_queue, queue);
	struct ram_disk *disk = to_disk(queue->bdev);

	ev_timer_stop(loop_ev(queue->loop), &rq->retry);
	pthread_mutex_lock(&disk->lock);
	ram_pr_leave(&disk->pr, &rq->nexus);
	pthread_mutex_unlock(&disk->lock);
}

const struct bdev_ops bdev_ram_ops = {
	.name = "ram",
	.bdev_bytes = sizeof(struct ram),
	.queue_bytes = sizeof(struct ram_queue),
	.open = ram_open,
	.close = ram_close,
	.queue_open = ram_queue_open,
	.queue_close = ram_queue_close,
	.submit = ram_submit,
};
