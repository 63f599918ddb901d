/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What csvadm shows of a mount, as JSON. Members are documented in csvadm(8). */
#include <sys/sysmacros.h>
#include <unistd.h>

#include "csvfs/volume/volume_internal.h"
#include "journal/journal.h"

static void add_str(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value ? value : ""));
}

static void add_u64(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static void add_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static struct json_object *sub(struct json_object *o, const char *key)
{
	struct json_object *s = json_object_new_object();

	json_object_object_add(o, key, s);
	return s;
}

static void add_ops(struct json_object *o, const char *key, const uint64_t *counts)
{
	struct json_object *s = sub(o, key);
	uint64_t total = 0;

	for (unsigned op = 0; op < CSVP_OP_LIMIT; op++) {
		if (counts[op])
			add_u64(s, csvp_op_name(op), counts[op]);
		total += counts[op];
	}
	add_u64(s, "total", total);
}

static void add_volume(struct json_object *o, struct volume *vol)
{
	struct json_object *v = sub(o, "volume");

	add_str(v, "uuid", vol->uuid_text);
	add_str(v, "label", vol->geom.label);
	add_str(v, "device", bdev_name(vol->bdev));
	add_str(v, "mountpoint", vol->cfg.mountpoint);
	if (vol->mount) {
		char dev[32];
		snprintf(dev, sizeof(dev), "%u:%u", major(fmount_dev(vol->mount)),
			minor(fmount_dev(vol->mount)));
		add_str(v, "mount_dev", dev);
	}
	add_u64(v, "size_bytes", vol->geom.nr_blks * 4096);
	add_u64(v, "cluster_bytes", vol->geom.cluster_blks * 4096ull);
	add_u64(v, "journal_bytes", vol->geom.journal_nr_blks * 4096);
	add_bool(v, "encrypted_requests", vol->has_key);
}

static const char *role_text(const struct volume *vol)
{
	static const char *const text[] = { "member", "recovering", "coordinator", "handing over" };

	return text[vol->role];
}

/* Why something is slow right now, in words; "" when nothing is known to be. */
static const char *reason(const struct volume *vol, const struct lm_status *lm,
	const struct node_stats *ns, const struct coord_stats *cs)
{
	if (vol->fenced_why[0])
		return vol->fenced_why;
	if (lm->activity && lm->activity[0])
		return lm->activity;
	if (!lm->coord.node)
		return lm->quorate ? "no coordinator: one is being elected" : "no quorum";
	if (vol->role == ROLE_RECOVERING)
		return "the log is being replayed";
	if (vol->coord && !cs->serving)
		return "waiting for members to reassert their tokens";
	if (!ns->connected)
		return "no connection to the coordinator";
	return "";
}

static void add_members(struct json_object *o, const struct lm_status *lm)
{
	struct json_object *list = json_object_new_array();

	for (uint32_t i = 0; i < lm->nr_nodes; i++) {
		const struct lm_node_info *n = &lm->nodes[i];
		struct json_object *m = json_object_new_object();
		add_u64(m, "node", n->node);
		add_str(m, "name", n->name);
		add_str(m, "address", n->address);
		add_bool(m, "member", n->member);
		add_bool(m, "live", n->live);
		add_bool(m, "coordinator", n->coordinator);
		if (n->beat_age_ms != UINT64_MAX)
			add_u64(m, "beat_age_ms", n->beat_age_ms);
		json_object_array_add(list, m);
	}
	json_object_object_add(o, "members", list);
}

static void add_device(struct json_object *o, struct volume *vol)
{
	static const struct {
		const char *name;
		enum bdev_op op;
	} ops[] = { { "read", BDEV_READ }, { "write", BDEV_WRITE }, { "flush", BDEV_FLUSH },
		{ "discard", BDEV_DISCARD }, { "write_zeroes", BDEV_WRITE_ZEROES } };
	struct json_object *d = sub(o, "device");
	struct bdev_counters c;

	bdev_counters(vol->bdev, &c);
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		struct json_object *s = sub(d, ops[i].name);
		enum bdev_op op = ops[i].op;
		add_u64(s, "ops", c.ops[op]);
		add_u64(s, "bytes", c.bytes[op]);
		add_u64(s, "errors", c.errors[op]);
		add_u64(s, "avg_us", c.ops[op] ? c.total_ns[op] / c.ops[op] / 1000 : 0);
		add_u64(s, "total_us", c.total_ns[op] / 1000);
		add_u64(s, "max_us", c.max_ns[op] / 1000);
	}
	add_u64(d, "in_flight", c.in_flight);
	add_u64(d, "reconnects", c.reconnects);
	add_u64(d, "resends", c.resends);
}

static void add_coordinator(struct json_object *o, struct volume *vol, const struct lm_status *lm,
	const struct coord_stats *cs)
{
	struct json_object *c = sub(o, "coordinator");

	add_u64(c, "node", lm->coord.node);
	add_u64(c, "epoch", lm->coord.epoch);
	add_str(c, "address", lm->coord.address);
	if (!vol->coord || vol->role != ROLE_SERVING)
		return;
	struct jnl_stats js;
	add_bool(c, "serving", cs->serving);
	add_u64(c, "sessions", cs->nr_sessions);
	add_u64(c, "inodes", cs->nr_inodes);
	add_u64(c, "locks", cs->nr_locks);
	add_u64(c, "lock_waits", cs->nr_lock_waits);
	add_u64(c, "recalls", cs->recalls);
	add_u64(c, "replays", cs->replays);
	add_u64(c, "takeover_ms", vol->takeover_ns / 1000000);
	add_u64(c, "replayed_records", vol->replayed_records);
	add_ops(c, "requests", cs->requests);
	jnl_stats(csv_fs_journal(vol->fs), &js);
	struct json_object *j = sub(c, "journal");
	add_u64(j, "records", js.records);
	add_u64(j, "blocks", js.blocks);
	add_u64(j, "commits", js.commits);
	add_u64(j, "checkpoints", js.checkpoints);
	add_u64(j, "used_bytes", js.used_blks * 4096);
	add_u64(j, "size_bytes", js.size_blks * 4096);
}

struct json_object *status_json(struct volume *vol)
{
	struct json_object *o = json_object_new_object();
	static const char *const fencing[] = { "none", "pr", "lease" };
	struct coord_stats cs = { 0 };
	struct node_stats ns;
	struct lm_status lm;

	lm_status(vol->lm, &lm);
	node_stats(vol->node, &ns);
	if (vol->coord)
		coord_stats(vol->coord, &cs);
	add_volume(o, vol);
	struct json_object *n = sub(o, "node");
	add_u64(n, "node", vol->self);
	add_u64(n, "generation", lm_generation(vol->lm));
	add_u64(n, "pid", (uint64_t)getpid());
	add_str(n, "role", role_text(vol));
	add_str(n, "io_mode", vol->fenced_why[0] ? "fenced" : "direct");
	add_str(n, "waiting_for", reason(vol, &lm, &ns, &cs));
	add_u64(n, "waiting_ms", ns.waiting_ns / 1000000);
	add_u64(n, "uptime_s", (clock_mono_ns() - vol->started_ns) / 1000000000);
	struct json_object *cl = sub(o, "cluster");
	add_bool(cl, "clustered", lm.clustered);
	add_bool(cl, "quorate", lm.quorate);
	add_str(cl, "fencing", fencing[lm.fencing]);
	add_members(cl, &lm);
	add_coordinator(o, vol, &lm, &cs);
	struct json_object *io = sub(o, "io");
	add_u64(io, "read_ops", ns.io_ops[NODE_READ]);
	add_u64(io, "read_bytes", ns.io_bytes[NODE_READ]);
	add_u64(io, "write_ops", ns.io_ops[NODE_WRITE]);
	add_u64(io, "write_bytes", ns.io_bytes[NODE_WRITE]);
	add_u64(io, "open_inodes", ns.nr_inodes);
	add_u64(io, "recalls", ns.recalls);
	add_u64(io, "purges", ns.purges);
	add_u64(io, "calls_outstanding", ns.outstanding);
	add_u64(io, "calls_resent", ns.resent);
	add_u64(io, "calls_spared", ns.meta_hits);
	add_u64(io, "kept_bytes", ns.meta_bytes);
	add_ops(io, "calls", ns.calls);
	add_device(o, vol);
	return o;
}
