/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Extended attributes and access control lists. Who may do what is the kernel's to check. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/fuse/fuse_internal.h"
#include "util/checked.h"

static bool starts_with(const char *name, const char *prefix)
{
	return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* A name of a kind that we keep; else req is answered. */
static bool name_ok(fuse_req_t req, const char *name)
{
	if (starts_with(name, "user.") || starts_with(name, "trusted.") ||
		starts_with(name, "security.") || !strcmp(name, CSV_ACL_ACCESS) ||
		!strcmp(name, CSV_ACL_DEFAULT))
		return true;
	fuse_reply_err(req, EOPNOTSUPP);
	return false;
}

static void put(struct fcall *f, uint64_t ino, const char *name, const void *value, uint32_t len,
	uint32_t flags)
{
	struct csvp_xattr *body = csvp_put(&f->call.msg, sizeof(*body));

	if (body) {
		body->ino = le64_of(ino);
		body->now_ns = le64_of((uint64_t)now_ns());
		body->name_len = le32_of((uint32_t)strlen(name));
		body->value_len = le32_of(len);
		body->flags = le32_of(flags);
	}
	csvp_put_bytes(&f->call.msg, name, (uint32_t)strlen(name));
	if (value)
		csvp_put_bytes(&f->call.msg, value, len);
}

static void reply_ok(struct fcall *f, struct csvp_in *in)
{
	fuse_reply_err(f->req, 0);
}

static void reply_get(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_size *s = csvp_get(in, sizeof(*s));
	uint32_t len = csvp_left(in);

	if (!s || (f->size && (len != le64_get(s->size) || len > f->size)))
		fuse_reply_err(f->req, EPROTO);
	else if (f->size)
		fuse_reply_buf(f->req, csvp_get(in, len), len);
	else
		fuse_reply_xattr(f->req, (size_t)le64_get(s->size));
}

/* It is known here that ino has none at all: most files, and programs ask for each of them. */
static bool has_none(fuse_req_t req, fuse_ino_t ino)
{
	struct fmount *m = fuse_req_userdata(req);
	struct csvp_attr attr;

	return node_meta_getattr(m->node, ino, &attr) &&
	       !(le32_get(attr.flags) & CSVP_ATTR_HAS_XATTRS);
}

void fop_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	if (!name_ok(req, name))
		return;
	if (has_none(req, ino)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_GETXATTR, reply_get);
	if (!f)
		return;
	f->size = size;
	put(f, ino, name, NULL, (uint32_t)MIN(size, CSV_XATTR_VALUE_MAX), 0);
	fcall_send(f);
}

/* Only root sees names of "trusted.", as on other file systems. */
static void reply_list(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_size *s = csvp_get(in, sizeof(*s));
	uint32_t left = csvp_left(in), len = 0;
	const char *name = csvp_get(in, left);
	bool all = fuse_req_ctx(f->req)->uid == 0;

	if (!s || (left && name[left - 1])) {
		fuse_reply_err(f->req, EPROTO);
		return;
	}
	char *names = malloc(left + 1);
	if (!names) {
		fuse_reply_err(f->req, ENOMEM);
		return;
	}
	while (left) {
		uint32_t n = (uint32_t)strlen(name) + 1;
		if (all || !starts_with(name, "trusted.")) {
			memcpy(names + len, name, n);
			len += n;
		}
		name += n;
		left -= n;
	}
	if (!f->size)
		fuse_reply_xattr(f->req, len);
	else if (len > f->size)
		fuse_reply_err(f->req, ERANGE);
	else
		fuse_reply_buf(f->req, names, len);
	free(names);
}

void fop_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (has_none(req, ino)) {
		if (size)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_xattr(req, 0);
		return;
	}
	struct fcall *f = fcall_new(req, CSVP_LISTXATTR, reply_list);
	if (!f)
		return;
	f->size = size;
	put(f, ino, "", NULL, CSV_XATTR_LIST_MAX, 0);
	fcall_send(f);
}

/* What waits for the answer to GETATTR. */
struct acl_set {
	char *value;
	uint32_t len, flags;
};

static void send_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
	size_t size, uint32_t flags)
{
	struct fcall *f = fcall_new(req, CSVP_SETXATTR, reply_ok);

	if (!f)
		return;
	put(f, ino, name, value, (uint32_t)size, flags);
	f->call.modifies = true;
	fcall_send(f);
}

static bool in_group(fuse_req_t req, gid_t gid)
{
	gid_t gids[256];
	int nr = fuse_req_getgroups(req, (int)ARRAY_SIZE(gids), gids);
	bool in = fuse_req_ctx(req)->gid == gid || nr > (int)ARRAY_SIZE(gids);

	for (int i = 0; i < nr && i < (int)ARRAY_SIZE(gids); i++)
		in |= gids[i] == gid;
	return in;
}

/* The kernel does not tell whether the caller may keep S_ISGID (FUSE_SETXATTR_EXT, which libfuse 3.14
 * does not know): as for chmod(2), who is not in the file's group loses it. */
static void acl_attr(struct fcall *f, struct csvp_in *in)
{
	const struct csvp_attr *a = csvp_get(in, sizeof(*a));
	struct acl_set *set = f->arg;
	uint32_t flags = set->flags;

	if (!a) {
		fuse_reply_err(f->req, EPROTO);
	} else {
		if ((le32_get(a->mode) & S_ISGID) && !in_group(f->req, le32_get(a->gid)))
			flags |= CSVP_XATTR_DROP_SGID;
		send_set(f->req, f->ino, CSV_ACL_ACCESS, set->value, set->len, flags);
	}
}

static void acl_ask(fuse_req_t req, fuse_ino_t ino, const char *value, size_t size, int flags)
{
	struct fcall *f = fcall_new(req, CSVP_GETATTR, acl_attr);
	struct acl_set *set = f ? malloc(sizeof(*set) + size) : NULL;

	if (!f)
		return;
	f->ino = ino;
	f->arg = set;
	if (!set) {
		fuse_reply_err(req, ENOMEM);
		fcall_free(f);
		return;
	}
	set->value = (char *)(set + 1);
	set->len = (uint32_t)size;
	set->flags = (uint32_t)flags;
	memcpy(set->value, value, size);
	struct csvp_getattr *body = csvp_put(&f->call.msg, sizeof(*body));
	if (body)
		body->ino = le64_of(ino);
	fcall_send(f);
}

void fop_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	int flags)
{
	if (!name_ok(req, name))
		return;
	if (size > CSV_XATTR_VALUE_MAX)
		fuse_reply_err(req, E2BIG);
	else if (!strcmp(name, CSV_ACL_ACCESS) && fuse_req_ctx(req)->uid != 0)
		acl_ask(req, ino, value, size, (int)((unsigned)flags & 3u));
	else
		send_set(req, ino, name, value, size, (uint32_t)flags & 3u);
}

void fop_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	if (!name_ok(req, name))
		return;
	struct fcall *f = fcall_new(req, CSVP_REMOVEXATTR, reply_ok);
	if (!f)
		return;
	put(f, ino, name, NULL, 0, 0);
	f->call.modifies = true;
	fcall_send(f);
}
