/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The project of a file, as FS_IOC_FSGETXATTR, FS_IOC_GETFLAGS and their counterparts have it, and
 * csvadm's view of projects. The kernel has checked that who sets is the owner or root. Of the flags
 * that there are for files this file system has only the one of projects: others are refused.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "csvfs/fuse/fuse_internal.h"
#include "csvfs/fuse/ioctl.h"

static struct csvp_project *project_new(fuse_req_t req, enum csvp_op op,
	void (*reply)(struct fcall *f, struct csvp_in *in), struct fcall **ret)
{
	struct csvp_project *body;

	*ret = fcall_new(req, op, reply);
	if (!*ret)
		return NULL;
	(*ret)->call.modifies = op == CSVP_PROJECT_SET;
	body = csvp_put(&(*ret)->call.msg, sizeof(*body));
	if (!body) { /* sending says why */
		fcall_send(*ret);
		return NULL;
	}
	*body = (struct csvp_project){ .now_ns = le64_of((uint64_t)now_ns()) };
	return body;
}

static void reply_set(struct fcall *f, struct csvp_in *in)
{
	fuse_reply_ioctl(f->req, 0, NULL, 0);
}

static const struct csvp_project *got(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_project *p = csvp_get(in, sizeof(*p));

	if (!p)
		fuse_reply_err(f->req, EPROTO);
	return p;
}

static void reply_flags(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_project *p = got(f, in);

	if (!p)
		return;
	unsigned int out = le32_get(p->flags) & CSVP_PROJECT_INHERIT ? FS_PROJINHERIT_FL : 0;
	fuse_reply_ioctl(f->req, 0, &out, sizeof(out));
}

static void reply_fsxattr(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_project *p = got(f, in);

	if (!p)
		return;
	struct fsxattr out = {
		.fsx_projid = le32_get(p->projid),
		.fsx_xflags = le32_get(p->flags) & CSVP_PROJECT_INHERIT ? FS_XFLAG_PROJINHERIT : 0,
	};
	fuse_reply_ioctl(f->req, 0, &out, sizeof(out));
}

static void reply_project(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_project *p = got(f, in);

	if (!p)
		return;
	struct csv_ioc_project out = {
		.projid = le32_get(p->projid),
		.inherits = !!(le32_get(p->flags) & CSVP_PROJECT_INHERIT),
		.blks = le64_get(p->blks),
		.inodes = le64_get(p->inodes),
		.limit_blks = le64_get(p->limit_blks),
		.limit_inodes = le64_get(p->limit_inodes),
	};
	fuse_reply_ioctl(f->req, 0, &out, sizeof(out));
}

static void ask(fuse_req_t req, fuse_ino_t ino, void (*reply)(struct fcall *f, struct csvp_in *in))
{
	struct fcall *f;
	struct csvp_project *body = project_new(req, CSVP_PROJECT_GET, reply, &f);

	if (!body)
		return;
	body->ino = le64_of(ino);
	fcall_send(f);
}

static void set(fuse_req_t req, fuse_ino_t ino, uint32_t projid, bool inherits)
{
	struct fcall *f;
	struct csvp_project *body = project_new(req, CSVP_PROJECT_SET, reply_set, &f);

	if (!body)
		return;
	body->ino = le64_of(ino);
	body->projid = le32_of(projid);
	body->flags = le32_of(inherits ? CSVP_PROJECT_INHERIT : 0);
	fcall_send(f);
}

static void set_fsxattr(fuse_req_t req, fuse_ino_t ino, const struct fsxattr *x)
{
	if ((x->fsx_xflags & ~(FS_XFLAG_PROJINHERIT | FS_XFLAG_HASATTR)) || x->fsx_extsize ||
		x->fsx_cowextsize)
		fuse_reply_err(req, EOPNOTSUPP);
	else
		set(req, ino, x->fsx_projid, x->fsx_xflags & FS_XFLAG_PROJINHERIT);
}

/* The flag alone: the number stays, which is asked for first. */
static void reply_then_set(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_project *p = got(f, in);

	if (p)
		set(f->req, le64_get(p->ino), le32_get(p->projid), f->size);
}

static void set_flags(fuse_req_t req, fuse_ino_t ino, unsigned int flags)
{
	struct fcall *f;

	if (flags & ~FS_PROJINHERIT_FL) {
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	struct csvp_project *body = project_new(req, CSVP_PROJECT_GET, reply_then_set, &f);
	if (!body)
		return;
	body->ino = le64_of(ino);
	f->size = flags != 0;
	fcall_send(f);
}

static void csvadm_asks(fuse_req_t req, fuse_ino_t ino, const struct csv_ioc_project *arg)
{
	bool limit = arg->cmd == CSV_IOC_PROJECT_LIMIT;
	struct csvp_project *body;
	struct fcall *f;

	if (fuse_req_ctx(req)->uid != 0) {
		fuse_reply_err(req, EPERM);
		return;
	}
	body = project_new(req, limit ? CSVP_PROJECT_SET : CSVP_PROJECT_GET,
		limit ? reply_set : reply_project, &f);
	if (!body)
		return;
	if (arg->cmd == CSV_IOC_PROJECT_GET && arg->projid == 0)
		body->ino = le64_of(ino);
	body->projid = le32_of(arg->projid);
	body->flags = le32_of(arg->cmd == CSV_IOC_PROJECT_NEXT ? CSVP_PROJECT_NEXT : 0);
	body->limit_blks = le64_of(arg->limit_blks);
	body->limit_inodes = le64_of(arg->limit_inodes);
	fcall_send(f);
}

bool project_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, const void *in, size_t in_bytes,
	size_t out_bytes)
{
	struct csv_ioc_project arg;
	struct fsxattr fsx;
	unsigned int flags;

	if (cmd == FS_IOC_GETFLAGS && out_bytes >= sizeof(flags)) {
		ask(req, ino, reply_flags);
	} else if (cmd == FS_IOC_FSGETXATTR && out_bytes >= sizeof(fsx)) {
		ask(req, ino, reply_fsxattr);
	} else if (cmd == FS_IOC_SETFLAGS && in_bytes >= sizeof(flags)) {
		memcpy(&flags, in, sizeof(flags));
		set_flags(req, ino, flags);
	} else if (cmd == FS_IOC_FSSETXATTR && in_bytes >= sizeof(fsx)) {
		memcpy(&fsx, in, sizeof(fsx));
		set_fsxattr(req, ino, &fsx);
	} else if (cmd == CSV_IOC_PROJECT && in_bytes >= sizeof(arg) && out_bytes >= sizeof(arg)) {
		memcpy(&arg, in, sizeof(arg));
		csvadm_asks(req, ino, &arg);
	} else {
		return false;
	}
	return true;
}
