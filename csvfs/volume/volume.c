/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start and end of a mount.
 *
 * Start: superblock -> key -> lock manager (gate) -> queue -> join -> wait for a coordinator ->
 * the node is ready -> FUSE.
 * End: FUSE unmounted -> the node's calls have drained -> the engine is closed -> left -> free.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "csvfs/core/format.h"
#include "csvfs/volume/key.h"
#include "csvfs/volume/volume_internal.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mounts.h"

#define DRAIN_TICK_S 0.02
#define DRAIN_MAX_TICKS 500u

static struct volume *running; /* for volume_stop() */

int volume_fail(struct volume *vol, int err, const char *fmt, ...)
{
	va_list ap;

	free(vol->error);
	vol->error = NULL;
	va_start(ap, fmt);
	if (vasprintf(&vol->error, fmt, ap) < 0)
		vol->error = NULL;
	va_end(ap);
	return err;
}

/* ---- start ---- */

static int open_device(struct volume *vol)
{
	struct bdev_opts opts = {
		.auth_file = vol->cfg.auth_file,
		.initiator = vol->cfg.initiator,
		.transport_timeout_ms = vol->cfg.transport_timeout_ms,
	};
	char *why = NULL;
	int err = bdev_open(vol->cfg.uri, &opts, &vol->bdev, &why);

	if (err) {
		volume_fail(vol, err, "%s", why ? why : err_str(err));
		free(why);
	}
	return err;
}

/* The superblock is read on an opening of its own: the lock manager's gate must stand before the
 * first queue of the real one opens. */
static int read_super(struct volume *vol)
{
	int err = open_device(vol);

	if (err)
		return err;
	err = bdev_queue_open(vol->bdev, vol->loop, &vol->queue);
	if (!err)
		err = csv_super_read(vol->queue, &vol->geom);
	bdev_queue_close(vol->queue);
	vol->queue = NULL;
	const char *name = vol->cfg.uri;
	if (err == -ERR_NOTCSV)
		volume_fail(vol, err, "%s: not a csvfs volume; make one with mkfs.csvfs", name);
	else if (err == -ERR_CORRUPT)
		volume_fail(vol, err, "%s: the superblock and its copies are damaged", name);
	else if (err == -ERR_VERSION)
		volume_fail(vol, err, "%s: the volume has features that this version does not know", name);
	else if (err == -ENOSPC)
		volume_fail(vol, err, "%s: the device is smaller than the volume on it; is it the right one?",
			name);
	else if (err)
		volume_fail(vol, err, "%s: reading the superblock: %s", name, err_str(err));
	bdev_close(vol->bdev);
	vol->bdev = NULL;
	return err;
}

static int read_key(struct volume *vol)
{
	static const uint8_t none[32];
	char path[128];
	uint8_t id[32];

	uuid_unparse_lower(vol->geom.uuid, vol->uuid_text);
	if (!memcmp(vol->geom.key_id, none, sizeof(none)))
		return vol->cfg.single ? 0 :
					 volume_fail(vol, -ERR_KEY,
						 "volume %s was made without a key, so it can be mounted "
						 "with -o single only",
						 vol->uuid_text);
	snprintf(path, sizeof(path), "/etc/csvfs/%s.key", vol->uuid_text);
	const char *file = vol->cfg.key_file ? vol->cfg.key_file : path;
	int err = key_read(file, vol->key);
	if (err == -ENOENT && vol->cfg.single)
		return 0; /* the key guards the network alone */
	if (err == -EPERM)
		return volume_fail(vol, err, "key file %s can be read by others; chmod 600 it", file);
	if (err == -EINVAL)
		return volume_fail(vol, err, "key file %s holds no key (64 hex digits)", file);
	if (err)
		return volume_fail(vol, err,
			"key file %s: %s; copy the one that mkfs.csvfs made from another node", file,
			err_str(err));
	key_id(vol->key, id);
	if (memcmp(id, vol->geom.key_id, sizeof(id)))
		return volume_fail(vol, -ERR_KEY, "key file %s is not the key of volume %s", file,
			vol->uuid_text);
	vol->has_key = true;
	return 0;
}

static void lm_membership(void *arg, uint64_t member_mask, bool quorate)
{
	log_info("members %#llx, %s", (unsigned long long)member_mask,
		quorate ? "quorate" : "no quorum");
}

static void lm_fenced(void *arg, const char *why)
{
	struct volume *vol = arg;

	snprintf(vol->fenced_why, sizeof(vol->fenced_why), "%s", why);
	log_error("this node was fenced: %s; unmount, and mount again once the cause is gone", why);
	bdev_fence_self(vol->bdev);
	node_fail(vol->node, -ERR_FENCED);
	role_step_down(vol, "fenced");
}

static const struct lm_ops lock_ops = {
	.become_coordinator = role_become,
	.coordinator = channel_coordinator,
	.node_gone = role_node_gone,
	.membership = lm_membership,
	.fenced = lm_fenced,
	.step_down = role_step_down,
};

static void invalidate(void *arg, uint64_t ino, uint64_t off_bytes, uint64_t len_bytes)
{
	struct volume *vol = arg;

	/* Without it a recall is not answered: this node is evicted for that in the end. */
	if (!vol->mount || fmount_purge(vol->mount, ino, off_bytes, len_bytes))
		log_error("out of memory to have pages of inode %llu dropped", (unsigned long long)ino);
}

static void forgotten(void *arg, uint64_t ino)
{
	struct volume *vol = arg;

	if (vol->mount && (!ino || ino == CSV_ROOT_INO))
		fmount_root_changed(vol->mount);
}

static int join(struct volume *vol)
{
	char host[64] = "?", *why = NULL;

	gethostname(host, sizeof(host) - 1);
	int err = channel_listen(vol);
	if (err)
		return volume_fail(vol, err, "listening for other nodes: %s", err_str(err));
	struct lm_cfg cfg = {
		.loop = vol->loop,
		.bdev = vol->bdev,
		.slot_blk = 64,
		.single = vol->cfg.single,
		.port = channel_port(vol),
		.name = host,
		.lease_ms = vol->cfg.lease_ms,
		.no_fence = vol->cfg.no_fence,
		.ops = &lock_ops,
		.arg = vol,
	};
	memcpy(cfg.uuid, vol->geom.uuid, sizeof(cfg.uuid));
	err = lm_new(&cfg, &vol->lm);
	if (err)
		return volume_fail(vol, err, "lock manager: %s", err_str(err));
	err = bdev_queue_open(vol->bdev, vol->loop, &vol->queue);
	if (err)
		return volume_fail(vol, err, "%s: %s", bdev_name(vol->bdev), err_str(err));
	struct node_cfg ncfg = {
		.loop = vol->loop,
		.bdev = vol->bdev,
		.send = channel_to_coordinator,
		.invalidate = invalidate,
		.forgotten = forgotten,
		.measure = vgrow_measure,
		.resized = vgrow_resized,
		.blind = vgrow_blind,
		.no_purge = vol->cfg.no_purge,
		.arg = vol,
		.strictatime = vol->cfg.strictatime,
		.noatime = vol->cfg.readonly ||
			(vol->cfg.mount_flags && strstr(vol->cfg.mount_flags, "noatime")),
	};
	memcpy(ncfg.uuid, vol->geom.uuid, sizeof(ncfg.uuid));
	err = node_new(&ncfg, &vol->node);
	if (err)
		return volume_fail(vol, err, "%s", err_str(err));
	err = second_join(vol, &why);
	if (err && (why || !vol->error))
		volume_fail(vol, err, "%s", why ? why : err_str(err));
	free(why);
	if (err || vol->second)
		return err;
	vol->self = lm_node(vol->lm);
	node_identity(vol->node, vol->self, lm_generation(vol->lm));
	return 0;
}

/* ---- the mount ---- */

static void mount_ended_work(struct loop_work *work)
{
	struct volume *vol = container_of(work, struct volume, ended_work);

	volume_end(vol, 0, "unmounted");
}

static void mount_ended(void *arg)
{
	struct volume *vol = arg;

	vol->ended_work.fn = mount_ended_work;
	loop_post(vol->loop, &vol->ended_work);
}

static void mount_shutdown(void *arg)
{
	struct volume *vol = arg;

	log_error("%s: shut down by an ioctl: all ends with EIO until it is unmounted; the next mount replays",
		vol->cfg.mountpoint);
	vol->cfg.shutdown(vol->cfg.arg);
}

static bool queue_idle(void *arg, const struct bdev_queue *queue)
{
	struct volume *vol = arg;

	return lm_gate_is_idle(vol->lm, queue);
}

struct first_call {
	struct node_call call;
	struct volume *vol;
};

/* The coordinator has answered for the first time: the volume serves. */
static void first_answer(struct node_call *call, int status, struct csvp_in *reply)
{
	struct first_call *first = container_of(call, struct first_call, call);
	struct volume *vol = first->vol;

	free(first);
	if (vol->ending)
		return;
	if (status) {
		volume_end(vol, status, "the volume does not answer");
		return;
	}
	struct fmount_cfg cfg = {
		.node = vol->node,
		.loop = vol->loop,
		.bdev = vol->bdev,
		.source = bdev_name(vol->bdev),
		.mountpoint = vol->cfg.mountpoint,
		.nr_workers = vol->cfg.nr_workers,
		.readonly = vol->cfg.readonly,
		.allow_other = vol->cfg.allow_other,
		.debug = vol->cfg.fuse_debug,
		.flags = vol->cfg.mount_flags,
		.queue_idle = queue_idle,
		.ended = mount_ended,
		.shutdown = mount_shutdown,
		.arg = vol,
	};
	int err = fmount_start(&cfg, &vol->mount);
	if (err) {
		volume_end(vol, err, "the mount point cannot be mounted on");
		return;
	}
	vol->ready_told = true;
	if (vol->cfg.ready)
		vol->cfg.ready(vol->cfg.arg);
}

static int first_ask(struct volume *vol)
{
	struct first_call *first = calloc(1, sizeof(*first));

	if (!first)
		return -ENOMEM;
	first->vol = vol;
	first->call.done = first_answer;
	csvp_begin(&first->call.msg, CSVP_STATFS, 0, 0, 0);
	node_call(vol->node, &first->call);
	return 0;
}

/* ---- end ---- */

static void left(void *arg)
{
	struct volume *vol = arg;

	vol->left = true;
	loop_stop(vol->loop);
}

void volume_role_closed(struct volume *vol)
{
	if (!vol->drained || vol->leaving)
		return;
	vol->leaving = true;
	lm_leave(vol->lm, left, vol);
}

/* Requests that were under way when the mount ended: they are answered by the device and the
 * coordinator as ever, and without them when those do not. True when there is none any more. */
static bool mount_drained(struct volume *vol)
{
	if (!vol->mount)
		return true;
	if (!fmount_is_idle(vol->mount)) {
		if (++vol->drain_ticks == DRAIN_MAX_TICKS) {
			log_warn("requests under way are not answered: the coordinator is not waited for");
			node_fail(vol->node, -ESHUTDOWN);
		} else if (vol->drain_ticks == 2 * DRAIN_MAX_TICKS) {
			log_warn("requests under way are not answered: the device is not waited for");
			bdev_fence_self(vol->bdev);
		}
		return false;
	}
	fmount_free(vol->mount);
	vol->mount = NULL;
	vol->drain_ticks = 0;
	node_close_all(vol->node);
	return true;
}

/* The CLOSEs of what was open are answered, or nobody is there to answer them. */
static void drained(struct ev_loop *ev, ev_timer *timer, int revents)
{
	struct volume *vol = timer->data;
	struct node_stats stats;

	if (!mount_drained(vol))
		return;
	node_stats(vol->node, &stats);
	bool busy = stats.outstanding || stats.nr_inodes;
	if (busy && !vol->fenced_why[0] && stats.connected && ++vol->drain_ticks < DRAIN_MAX_TICKS)
		return;
	ev_timer_stop(ev, timer);
	node_fail(vol->node, -ESHUTDOWN);
	vol->drained = true;
	role_close(vol, 0);
}

void volume_end(struct volume *vol, int status, const char *why)
{
	if (vol->ending)
		return;
	vol->ending = true;
	vol->end_status = status;
	if (vol->lm)
		lm_ending(vol->lm);
	if (status) {
		log_error("ending: %s: %s", why, err_str(status));
		volume_fail(vol, status, "%s: %s", why, err_str(status));
	}
	if (vol->mount)
		fmount_quit(vol->mount);
	ev_timer_init(&vol->drain_timer, drained, DRAIN_TICK_S, DRAIN_TICK_S);
	vol->drain_timer.data = vol;
	ev_timer_start(loop_ev(vol->loop), &vol->drain_timer);
}

static int unmount(void *arg, const struct mount_at *at)
{
	unsigned *nr = arg;

	++*nr;
	if (!umount2(at->dir, UMOUNT_NOFOLLOW))
		return 0;
	int err = -errno;
	if (err == -EBUSY)
		log_warn("%s is in use: close what is open there (fuser -vm %s), then end again",
			at->dir, at->dir);
	else
		log_warn("%s: %s", at->dir, strerror(-err));
	return err;
}

/* A signal asks for the end: refused while files are open, as umount does. */
static void stop_asked(struct ev_loop *ev, ev_async *async, int revents)
{
	struct volume *vol = async->data;
	unsigned nr = 0;

	if (vol->ending)
		return;
	if (!vol->mount) {
		volume_end(vol, 0, "asked to end");
		return;
	}
	int err = mounts_each(fmount_dev(vol->mount), unmount, &nr); /* mount_ended() follows */
	if (!err && !nr)
		log_warn("%s is mounted nowhere that this process sees; the volume ends when the last "
			 "that uses it has (a lazy umount, or another mount namespace)",
			vol->cfg.mountpoint);
}

void volume_stop(void)
{
	if (running)
		ev_async_send(loop_ev(running->loop), &running->stop_async);
}

static void volume_done(struct volume *vol)
{
	control_free(vol->control);
	vscrub_free(vol);
	vgrow_free(vol);
	if (vol->nr_measuring)
		bdev_fence_self(vol->bdev);
	while (vol->nr_measuring)
		loop_run_once(vol->loop, true);
	if (vol->loop)
		channel_done(vol);
	coord_free(vol->coord);
	csv_fs_free(vol->fs);
	lm_free(vol->lm);
	bdev_queue_close(vol->queue);
	node_free(vol->node);
	bdev_close(vol->bdev);
	if (vol->loop)
		ev_async_stop(loop_ev(vol->loop), &vol->stop_async);
	loop_free(vol->loop);
}

static int volume_serve(struct volume *vol)
{
	int err = read_super(vol);
	if (!err)
		err = read_key(vol);
	if (!err)
		err = open_device(vol);
	if (!err)
		err = join(vol);
	if (err)
		return err;
	if (vol->second) {
		vol->cfg.ready(vol->cfg.arg);
		return 0;
	}
	running = vol;
	err = control_new(vol, &vol->control);
	if (!err)
		err = first_ask(vol);
	if (err) /* what has begun, ends in order */
		volume_end(vol, err, "starting (see the control= option)");
	loop_run(vol->loop);
	running = NULL;
	return vol->end_status;
}

int volume_run(const struct volume_cfg *cfg, char **ret_error)
{
	struct volume vol = { .cfg = *cfg, .started_ns = clock_mono_ns() };

	list_init(&vol.peers);
	int err = loop_new(&vol.loop);
	if (!err) {
		ev_async_init(&vol.stop_async, stop_asked);
		vol.stop_async.data = &vol;
		ev_async_start(loop_ev(vol.loop), &vol.stop_async);
		err = volume_serve(&vol);
	}
	if (err)
		*ret_error = vol.error ? vol.error : strdup(err_str(err));
	else
		free(vol.error);
	volume_done(&vol);
	return err;
}
