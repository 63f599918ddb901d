/* SPDX-License-Identifier: GPL-2.0-or-later */
/* copy_file_range as a clone, and the ioctls of csvadm. */
#include <errno.h>
#include <string.h>

#include "csvfs/fuse/fuse_internal.h"
#include "csvfs/fuse/ioctl.h"
#include "util/checked.h"
#include "util/err.h"

static struct fcall *clone_new(fuse_req_t req, uint64_t src, uint64_t dst, uint64_t off, uint64_t len,
	void (*reply)(struct fcall *f, struct csvp_in *in))
{
	struct fcall *f = fcall_new(req, CSVP_CLONE, reply);

	if (!f)
		return NULL;
	struct csvp_clone *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		*body = (struct csvp_clone){ le64_of(src), le64_of(dst), le64_of(off), le64_of(len),
			le64_of((uint64_t)now_ns()) };
	f->call.modifies = true;
	f->off = off;
	f->size = len;
	return f;
}

static void reply_copied(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_size *s = csvp_get(in, sizeof(*s));
	uint64_t size = s ? le64_get(s->size) : 0;

	if (!s)
		fuse_reply_err(f->req, EPROTO);
	else
		fuse_reply_write(f->req, size > f->off ? MIN(size - f->off, f->size) : 0);
}

/* The kernel copies by itself what is answered with EOPNOTSUPP. */
void fop_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
	struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
	struct fuse_file_info *fi_out, size_t len, int flags)
{
	if (off_in != off_out || ino_in == ino_out || flags) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	struct fcall *f = clone_new(req, ino_in, ino_out, (uint64_t)off_in, len, reply_copied);
	if (f)
		fcall_send(f);
}

static void reply_cloned(struct fcall *f, struct csvp_in *in)
{
	fuse_reply_ioctl(f->req, 0, NULL, 0);
}

static void reply_map(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_layout_reply *body = csvp_get(in, sizeof(*body));
	struct csv_ioc_map out = { .blk = f->off };

	if (!body) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	out.size = le64_get(body->size);
	out.is_inline = le32_get(body->is_inline);
	out.nr_extents = MIN(le32_get(body->nr_extents), CSV_IOC_MAP_EXTENTS);
	for (uint32_t i = 0; i < out.nr_extents; i++) {
		const struct csvp_extent *e = csvp_get(in, sizeof(*e));
		if (!e) {
			fuse_reply_err(f->req, EPROTO);
			return;
		}
		out.extents[i].blk = le64_get(e->blk);
		out.extents[i].nr = le64_get(e->nr);
		out.extents[i].phys = le64_get(e->phys);
		out.extents[i].state = le32_get(e->state);
		out.nr += out.extents[i].nr;
	}
	fuse_reply_ioctl(f->req, 0, &out, sizeof(out));
}

static void ioctl_map(fuse_req_t req, fuse_ino_t ino, const struct csv_ioc_map *arg)
{
	struct fcall *f = fcall_new(req, CSVP_MAP, reply_map);

	if (!f)
		return;
	struct csvp_map *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		*body = (struct csvp_map){ le64_of(ino), le64_of(arg->blk), le64_of(arg->nr) };
	f->off = arg->blk;
	fcall_send(f);
}

void fop_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg, struct fuse_file_info *fi,
	unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	struct csv_ioc_clone clone;
	struct csv_ioc_map map;

	if (cmd == CSV_IOC_SHUTDOWN) {
		struct fmount *m = fuse_req_userdata(req);
		bool root = fuse_req_ctx(req)->uid == 0;
		if (!root) {
			fuse_reply_err(req, EPERM);
			return;
		}
		if (dead_start(m))
			fuse_reply_ioctl(req, 0, NULL, 0);
		m->cfg.shutdown(m->cfg.arg);
		return;
	}
	if (cmd == CSV_IOC_CLONE && in_bytes >= sizeof(clone)) {
		memcpy(&clone, in, sizeof(clone));
		if (fuse_req_ctx(req)->uid != 0) {
			fuse_reply_err(req, EPERM);
			return;
		}
		struct fcall *f =
			clone_new(req, clone.src_ino, ino, 0, UINT64_MAX, reply_cloned);
		if (f)
			fcall_send(f);
	} else if (cmd == CSV_IOC_MAP && in_bytes >= sizeof(map) && out_bytes >= sizeof(map)) {
		memcpy(&map, in, sizeof(map));
		ioctl_map(req, ino, &map);
	} else if (!project_ioctl(req, ino, cmd, in, in_bytes, out_bytes)) {
		fuse_reply_err(req, ENOTTY);
	}
}
