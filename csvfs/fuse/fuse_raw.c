/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests that the kernel sends and libfuse 3.14 does not know: it would answer ENOSYS. Two of them
 * begin like one that it knows, and are handed to it as that.
 *
 *   TMPFILE (Linux 6.1) is CREATE, with a name of the kernel's making
 *   STATX (Linux 6.6) begins as GETATTR does; its answer has the time of birth
 *
 * Besides, what libfuse 3.14 does not hand on of those that it knows:
 *
 *   READ without an owner is for the page cache, that is, for a mapping: files are opened past it
 *   INIT offers and takes flags beyond the 32nd
 */
#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "csvfs/fuse/fuse_internal.h"

#define OP_TMPFILE 51u
#define OP_STATX 52u

/* As in linux/fuse.h from 7.39 on. */
struct statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct sx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct {
		uint32_t mask, blksize;
		uint64_t attributes;
		uint32_t nlink, uid, gid;
		uint16_t mode, spare0;
		uint64_t ino, size, blocks, attributes_mask;
		struct sx_time atime, btime, ctime, mtime;
		uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
		uint64_t spare2[14];
	} st;
};
static_assert(sizeof(struct statx_in) == 24, "fuse");
static_assert(sizeof(struct statx_out) == 32 + 256, "fuse");

#define SX_BASIC 0x7ffu /* STATX_BASIC_STATS */
#define SX_BTIME 0x800u

#define INIT_EXT (1u << 30)		   /* of flags: there are flags2 */
#define INIT2_DIRECT_IO_ALLOW_MMAP (1u << 4) /* of flags2 (Linux 6.6) */
#define INIT2_HAS_RESEND (1u << 7)	     /* of flags2 (Linux 6.9); to be known, not to be taken */

/* Flags of our own go into the answer to INIT that libfuse has made. */
static ssize_t reply_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct fworker *w = fworker_self;

	if (w && w->as == FUSE_AS_INIT && count == 2 && iov[1].iov_len >= sizeof(struct fuse_init_out)) {
		struct fuse_init_out out;
		memcpy(&out, iov[1].iov_base, sizeof(out));
		out.flags |= INIT_EXT;
		out.flags2 |= INIT2_DIRECT_IO_ALLOW_MMAP;
		struct iovec two[2] = { iov[0], { &out, sizeof(out) } };
		return writev(fd, two, 2);
	}
	return writev(fd, iov, count);
}

static ssize_t request_read(int fd, void *buf, size_t len, void *userdata)
{
	return read(fd, buf, len);
}

int fraw_init(struct fmount *m)
{
	static const struct fuse_custom_io io = { .writev = reply_writev, .read = request_read };

	return fuse_session_custom_io(m->se, &io, fuse_session_fd(m->se)) ? -ENOMEM : 0;
}

/* The kernel's offers beyond those that libfuse knows. */
static uint32_t offers(const struct fuse_in_header *in, size_t len)
{
	const struct fuse_init_in *init = (const struct fuse_init_in *)(const void *)(in + 1);

	return len >= sizeof(*in) + sizeof(*init) && (init->flags & INIT_EXT) ? init->flags2 : 0;
}

static bool is_paging(const struct fuse_in_header *in, size_t len)
{
	const struct fuse_read_in *rd = (const struct fuse_read_in *)(const void *)(in + 1);

	return len >= sizeof(*in) + sizeof(*rd) && !(rd->read_flags & FUSE_READ_LOCKOWNER);
}

enum fuse_as fraw_prepare(void *mem, size_t len)
{
	struct fuse_in_header *in = mem;

	if (len >= sizeof(*in) + sizeof(struct fuse_create_in) && in->opcode == OP_TMPFILE) {
		in->opcode = FUSE_CREATE;
		return FUSE_AS_TMPFILE;
	}
	if (len >= sizeof(*in) + sizeof(struct statx_in) && in->opcode == OP_STATX) {
		in->opcode = FUSE_GETATTR;
		return FUSE_AS_STATX;
	}
	if (in->opcode == FUSE_INIT && fworker_self && fworker_self->mount)
		fworker_self->mount->resends = offers(in, len) & INIT2_HAS_RESEND;
	if (in->opcode == FUSE_INIT && (offers(in, len) & INIT2_DIRECT_IO_ALLOW_MMAP))
		return FUSE_AS_INIT;
	if (in->opcode == FUSE_READ && is_paging(in, len))
		return FUSE_AS_PAGES;
	return FUSE_AS_ITSELF;
}

static struct sx_time sx_time(struct timespec ts)
{
	return (struct sx_time){ ts.tv_sec, (uint32_t)ts.tv_nsec, 0 };
}

void fraw_reply_statx(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));

	if (a)
		fraw_answer_statx(f->req, a, le32_get(in->hdr->flags) & CSVP_KEEP_ATTR);
	else
		fuse_reply_err(f->req, EPROTO);
}

void fraw_answer_statx(fuse_req_t req, const struct csvp_attr *a, bool kept)
{
	struct statx_out out;
	struct stat st;

	attr_to_stat(&st, a);
	memset(&out, 0, sizeof(out));
	out.attr_valid = attr_valid_s(a, kept);
	out.st.mask = SX_BASIC | SX_BTIME;
	out.st.blksize = (uint32_t)st.st_blksize;
	out.st.nlink = (uint32_t)st.st_nlink;
	out.st.uid = st.st_uid;
	out.st.gid = st.st_gid;
	out.st.mode = (uint16_t)st.st_mode;
	out.st.ino = st.st_ino;
	out.st.size = (uint64_t)st.st_size;
	out.st.blocks = (uint64_t)st.st_blocks;
	out.st.atime = sx_time(st.st_atim);
	out.st.btime = sx_time(to_timespec(a->btime_ns));
	out.st.ctime = sx_time(st.st_ctim);
	out.st.mtime = sx_time(st.st_mtim);
	out.st.rdev_major = major(st.st_rdev);
	out.st.rdev_minor = minor(st.st_rdev);
	fuse_reply_buf(req, (const char *)&out, sizeof(out));
}
