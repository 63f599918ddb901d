/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/disks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "util/err.h"
#include "util/list.h"
#include "vmm/virtio_blk.h"
#include "vmm/virtio_scsi.h"

struct entry {
	struct list link;
	struct vmm_disks *disks;
	struct vmm_disk_conf conf;
	struct vmm_disk disk;
	struct vmm_virtio_blk *blk; /* or else: */
	unsigned int target;
	bool detaching, resizing;
};

struct vmm_disks {
	struct vmm_disks_conf conf;
	struct vmm_virtio_scsi *scsi;
	struct list entries;
};

static int say(char **ret_error, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int say(char **ret_error, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(ret_error, fmt, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

static struct entry *find(struct vmm_disks *disks, const char *id)
{
	struct list *pos;

	list_for_each (pos, &disks->entries) {
		struct entry *entry = list_entry(pos, struct entry, link);

		if (strcmp(entry->conf.id, id) == 0)
			return entry;
	}
	return NULL;
}

/* Of one that nothing is under way with (D2). */
static int find_idle(
	struct vmm_disks *disks, const char *id, struct entry **ret_entry, char **ret_error)
{
	struct entry *entry = find(disks, id);

	if (!entry)
		return say(ret_error, -ENOENT, "there is no disk \"%s\"", id);
	if (entry->resizing)
		return say(ret_error, -EBUSY, "the disk \"%s\" is being resized", id);
	*ret_entry = entry;
	return 0;
}

static void entry_free(struct entry *entry)
{
	list_del(&entry->link);
	vmm_disk_close(&entry->disk);
	free(entry->conf.own_path);
	free(entry);
}

/* ---- coming ---- */

static int plug(struct entry *entry)
{
	struct vmm_disks *disks = entry->disks;
	unsigned int nr_queues = entry->conf.nr_queues;
	int err;

	pthread_mutex_lock(disks->conf.mutex);
	if (entry->conf.bus == VMM_BUS_SCSI)
		err = vmm_virtio_scsi_attach(
			disks->scsi, &entry->disk, entry->conf.id, &entry->target);
	else
		err = vmm_virtio_blk_new(&entry->disk, disks->conf.mem, disks->conf.pci,
			nr_queues ? nr_queues : disks->conf.nr_queues, entry->conf.id, &entry->blk);
	pthread_mutex_unlock(disks->conf.mutex);
	return err;
}

int vmm_disks_attach(
	struct vmm_disks *disks, const struct vmm_disk_conf *conf, bool running, char **ret_error)
{
	struct entry *entry;
	int err;

	*ret_error = NULL;
	if (running && conf->bus != VMM_BUS_SCSI)
		return say(ret_error, -EINVAL,
			"while a machine runs, disks come on the bus scsi only");
	if (find(disks, conf->id))
		return say(ret_error, -EEXIST, "there is a disk \"%s\" already", conf->id);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	err = vmm_disk_open(conf->path, conf->readonly, &entry->disk, ret_error);
	if (err) {
		free(entry);
		return *ret_error ? err : say(ret_error, err, "%s: %s", conf->path, err_str(err));
	}
	entry->disks = disks;
	entry->disk.on_error = conf->on_error;
	entry->disk.failed = disks->conf.failed;
	entry->disk.failed_arg = disks->conf.arg;
	list_add_tail(&disks->entries, &entry->link);
	entry->conf = *conf;
	entry->conf.own_path = strdup(conf->path);
	entry->conf.path = entry->conf.own_path;
	err = entry->conf.path ? plug(entry) : -ENOMEM;
	if (err) {
		entry_free(entry);
		return say(ret_error, err, "%s: %s", conf->path, err_str(err));
	}
	return 0;
}

/* ---- going ---- */

static void on_gone(void *arg, int flush_err)
{
	struct entry *entry = arg;
	struct vmm_disks *disks = entry->disks;
	char id[VMM_DISK_ID_MAX + 1];

	memcpy(id, entry->conf.id, sizeof(id));
	entry_free(entry);
	disks->conf.gone(disks->conf.arg, id, flush_err);
}

int vmm_disks_detach(struct vmm_disks *disks, const char *id, bool force, char **ret_error)
{
	struct entry *entry;
	int err;

	*ret_error = NULL;
	err = find_idle(disks, id, &entry, ret_error);
	if (err)
		return err;
	if (entry->blk)
		return say(ret_error, -EINVAL,
			"the disk \"%s\" is not on the bus scsi, and stays as long as the machine "
			"runs",
			id);
	pthread_mutex_lock(disks->conf.mutex);
	err = vmm_virtio_scsi_detach(disks->scsi, entry->target, force, on_gone, entry);
	pthread_mutex_unlock(disks->conf.mutex);
	if (err == -EALREADY)
		return say(ret_error, err, "the disk \"%s\" is being detached already%s", id,
			force ? "" : "; --force takes it away from a guest that does not let go");
	if (err == -EOPNOTSUPP)
		return say(ret_error, err,
			"the guest's driver cannot let a disk go while it runs; --force takes it "
			"away");
	entry->detaching = !err;
	return err;
}

/* ---- growing ---- */

static void on_measured(void *arg, int err)
{
	struct entry *entry = arg;
	struct vmm_disks *disks = entry->disks;

	entry->resizing = false;
	pthread_mutex_lock(disks->conf.mutex);
	if (!err && entry->blk)
		vmm_virtio_blk_resized(entry->blk);
	else if (!err)
		vmm_virtio_scsi_resized(disks->scsi, entry->target);
	pthread_mutex_unlock(disks->conf.mutex);
	disks->conf.resized(
		disks->conf.arg, entry->conf.id, err, bdev_geom(entry->disk.bdev).size_bytes);
}

int vmm_disks_resize(struct vmm_disks *disks, const char *id, uint64_t size_bytes, char **ret_error)
{
	struct entry *entry;
	int err;

	*ret_error = NULL;
	err = find_idle(disks, id, &entry, ret_error);
	if (err)
		return err;
	if (entry->detaching)
		return say(ret_error, -EBUSY, "the disk \"%s\" is being detached", id);
	if (size_bytes > 0) {
		err = vmm_disk_grow(&entry->disk, size_bytes, ret_error);
		if (err)
			return err;
	}
	entry->resizing = true;
	err = vmm_disk_measure(&entry->disk, disks->conf.loop, on_measured, entry);
	if (err)
		entry->resizing = false;
	return err;
}

/* ---- all of them ---- */

int vmm_disks_info(struct vmm_disks *disks, unsigned int nth, struct vmm_disk_info *ret_info)
{
	struct list *pos;

	list_for_each (pos, &disks->entries) {
		struct entry *entry = list_entry(pos, struct entry, link);

		if (nth-- > 0)
			continue;
		*ret_info = (struct vmm_disk_info){ .conf = entry->conf,
			.size_bytes = bdev_geom(entry->disk.bdev).size_bytes,
			.detaching = entry->detaching };
		ret_info->conf.own_path = NULL;
		return 0;
	}
	return -ENOENT;
}

void vmm_disks_retry(struct vmm_disks *disks)
{
	struct list *pos;

	list_for_each (pos, &disks->entries) {
		struct entry *entry = list_entry(pos, struct entry, link);

		if (entry->blk)
			vmm_virtio_blk_retry(entry->blk);
	}
	vmm_virtio_scsi_retry(disks->scsi);
}

int vmm_disks_new(const struct vmm_disks_conf *conf, struct vmm_disks **ret_disks)
{
	struct vmm_disks *disks = calloc(1, sizeof(*disks));
	int err;

	if (!disks)
		return -ENOMEM;
	disks->conf = *conf;
	list_init(&disks->entries);
	err = vmm_virtio_scsi_new(conf->mem, conf->pci, conf->loop, conf->nr_queues, &disks->scsi);
	if (err) {
		free(disks);
		return err;
	}
	*ret_disks = disks;
	return 0;
}

void vmm_disks_free(struct vmm_disks *disks)
{
	if (!disks)
		return;
	vmm_virtio_scsi_free(disks->scsi);
	while (!list_empty(&disks->entries)) {
		struct entry *entry = list_entry(disks->entries.next, struct entry, link);

		vmm_virtio_blk_free(entry->blk);
		if (entry->detaching)
			on_gone(entry, 0);
		else
			entry_free(entry);
	}
	free(disks);
}
