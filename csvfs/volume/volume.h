/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A mounted volume: joins device, lock manager, node, coordinator role and FUSE mount into one
 * process, and answers csvadm. The thread that calls volume_run() is the service thread.
 *
 * V1  The engine exists only while this node has the role (from become_coordinator until the engine
 *     is closed); messages of an earlier term of the role are dropped.
 * V2  The node half always speaks to the coordinator that the lock manager names: in-process when
 *     that is this node, else by a TLS stream; it reconnects until there is another.
 * V3  A connection is of the node that it says only if it comes from the address that this node has in the
 *     group (Corosync's first link, from which V2 connects), and of its present mount.
 * V4  A node mounts a volume once and is one member with it. Who mounts it again has another mount of
 *     the same file system of the kernel, as with any local one: one process serves all, and ends
 *     with the last. Only flags of the mount (nodev, nosuid, noexec, noatime) are its own.
 */
#ifndef CSVFS_VOLUME_H
#define CSVFS_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

struct volume;

struct volume_cfg {
	const char *uri;
	const char *mountpoint;
	const char *key_file;  /* NULL: /etc/csvfs/<uuid>.key, if the volume has a key */
	const char *auth_file; /* of the device (bdev_opts) */
	const char *initiator;
	const char *control_dir; /* NULL: /run/csvfs */
	bool single;		 /* no Corosync */
	bool readonly;		 /* nothing can be changed through this mount; the node still takes part
				  * in the cluster, with what it writes for that */
	const char *mount_flags; /* as fmount_cfg.flags */
	bool second; /* it may be a second mount of what this node has mounted: volume_run() returns then,
		      * when ready was called (V4) */
	bool strictatime; /* as node_cfg.strictatime */
	bool allow_other;
	bool fuse_debug;
	bool no_fence, no_recall, no_purge; /* tests only: twins with the mechanism off */
	uint32_t nr_workers;
	uint32_t recall_ms, lease_ms; /* 0 = default */
	uint32_t transport_timeout_ms;
	/* The mount serves; called once from volume_run(). */
	void (*ready)(void *arg);
	/* Any thread: root has told the mount to stop at once; ends the process. */
	void (*shutdown)(void *arg);
	void *arg;
};

/*
 * Mounts and serves until unmounted or volume_stop(). Blocks. Returns 0 after an orderly end, else a
 * negative code (-ERR_MOUNTED: on this node already, and not to be mounted a second time); *ret_error (owned by the caller, may be NULL) is then a sentence with the next step.
 */
int volume_run(const struct volume_cfg *cfg, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Asks the running volume to unmount and end: async-signal-safe. */
void volume_stop(void);

#endif
