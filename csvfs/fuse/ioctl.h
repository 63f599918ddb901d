/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What csvadm asks of an open file on a mount, by ioctl(2): there is no other way to name a file to
 * the process that serves it and to have the kernel vouch for the caller. */
#ifndef CSVFS_FUSE_IOCTL_H
#define CSVFS_FUSE_IOCTL_H

#include <stdint.h>
#include <sys/ioctl.h>

/* As other Linux file systems have it, and as their tests use it: on any open file or directory, root
 * only. Its number says that it reads, so the kernel keeps the flags to itself: whatever they are, what
 * was acknowledged is on the volume and nothing else is done. */
#define CSV_IOC_SHUTDOWN _IOR('X', 125, uint32_t)

/*
 * On an empty file, open for writing: it becomes a clone of the whole file src_ino of the same mount.
 * Root only. EOPNOTSUPP: only a copy can do it. EPERM, ENOENT, EISDIR, EINVAL, ENOSPC.
 */
struct csv_ioc_clone {
	uint64_t src_ino;
};
#define CSV_IOC_CLONE _IOW(0xc5, 1, struct csv_ioc_clone)

/* Where the blocks (4 KiB each) of the file lie: from blk on, up to nr of them, as many extents as
 * there is room for; on return nr_extents says how many. They are in order and without gaps. */
#define CSV_IOC_MAP_EXTENTS 100u
struct csv_ioc_map {
	uint64_t blk, nr;
	uint64_t size; /* out: of the file, bytes */
	uint32_t nr_extents;
	uint32_t is_inline; /* out: the content lies in the inode */
	struct {
		uint64_t blk, nr, phys;
		uint64_t state; /* enum csv_ext_state */
	} extents[CSV_IOC_MAP_EXTENTS];
};
#define CSV_IOC_MAP _IOWR(0xc5, 2, struct csv_ioc_map)

/*
 * Projects, on any open file or directory. Root only.
 * GET: of project projid; 0 = of that of the open file, and inherits says whether it gives it to what
 * is made in it. NEXT: the first with a number above projid that has use or limits (ENOENT). LIMIT:
 * sets the limits of projid.
 */
enum csv_ioc_project_cmd { CSV_IOC_PROJECT_GET, CSV_IOC_PROJECT_NEXT, CSV_IOC_PROJECT_LIMIT };
struct csv_ioc_project {
	uint32_t cmd;
	uint32_t projid;
	uint32_t inherits, pad;
	uint64_t blks, inodes;		   /* out: 4 KiB blocks */
	uint64_t limit_blks, limit_inodes; /* 0 = none */
};
#define CSV_IOC_PROJECT _IOWR(0xc5, 3, struct csv_ioc_project)

#endif
