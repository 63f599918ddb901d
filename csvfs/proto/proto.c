/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/proto/proto.h"
#include "util/checked.h"
#include "util/err.h"

void csvp_hdr_init(struct csvp_hdr *hdr, enum csvp_op op, uint32_t flags, int status, uint64_t xid)
{
	*hdr = (struct csvp_hdr){
		.magic = le32_of(CSVP_MAGIC),
		.version = le16_of(CSVP_VERSION),
		.op = le16_of(op),
		.flags = le32_of(flags),
		.status = le32_of((uint32_t)status),
		.xid = le64_of(xid),
		.slot = le16_of(CSVP_NO_SLOT),
	};
}

void csvp_begin(struct csvp_msg *msg, enum csvp_op op, uint32_t flags, int status, uint64_t xid)
{
	*msg = (struct csvp_msg){ 0 };
	struct csvp_hdr *hdr = csvp_put(msg, sizeof(*hdr));
	if (hdr)
		csvp_hdr_init(hdr, op, flags, status, xid);
}

void *csvp_put(struct csvp_msg *msg, uint32_t len)
{
	if (msg->failed || len > CSVP_MAX_BYTES - msg->len) {
		msg->failed = true;
		return NULL;
	}
	if (msg->len + len > msg->room) {
		uint32_t room = MAX(msg->len + len, MAX(msg->room * 2, 256u));
		uint8_t *data = realloc(msg->data, room);
		if (!data) {
			msg->failed = true;
			return NULL;
		}
		msg->data = data;
		msg->room = room;
	}
	void *at = msg->data + msg->len;
	memset(at, 0, len);
	msg->len += len;
	return at;
}

void csvp_put_bytes(struct csvp_msg *msg, const void *bytes, uint32_t len)
{
	void *at = csvp_put(msg, len);
	if (at && len)
		memcpy(at, bytes, len);
}

int csvp_finish(struct csvp_msg *msg)
{
	if (msg->failed)
		return msg->len > CSVP_MAX_BYTES / 2 ? -E2BIG : -ENOMEM;
	csvp_hdr(msg)->len = le32_of(msg->len);
	return 0;
}

void csvp_free(struct csvp_msg *msg)
{
	free(msg->data);
	*msg = (struct csvp_msg){ 0 };
}

int csvp_open(struct csvp_in *in, const void *data, uint32_t len)
{
	const struct csvp_hdr *hdr = data;

	if (len < sizeof(*hdr) || le32_get(hdr->magic) != CSVP_MAGIC || le32_get(hdr->len) != len)
		return -EPROTO;
	if (le16_get(hdr->version) != CSVP_VERSION)
		return -ERR_VERSION;
	in->hdr = hdr;
	in->pos = (const uint8_t *)data + sizeof(*hdr);
	in->end = (const uint8_t *)data + len;
	return 0;
}

const void *csvp_get(struct csvp_in *in, uint64_t len)
{
	if (len > csvp_left(in))
		return NULL;
	const void *at = in->pos;
	in->pos += len;
	return at;
}

void csvp_put_attr(struct csvp_attr *out, const struct csv_attr *attr)
{
	*out = (struct csvp_attr){
		.ino = le64_of(attr->ino),
		.mode = le32_of(attr->mode),
		.nlink = le32_of(attr->nlink),
		.uid = le32_of(attr->uid),
		.gid = le32_of(attr->gid),
		.size = le64_of(attr->size),
		.nr_blks = le64_of(attr->nr_blks),
		.rdev = le64_of(attr->rdev),
		.atime_ns = le64_of((uint64_t)attr->atime_ns),
		.mtime_ns = le64_of((uint64_t)attr->mtime_ns),
		.ctime_ns = le64_of((uint64_t)attr->ctime_ns),
		.btime_ns = le64_of((uint64_t)attr->btime_ns),
		.flags = le32_of(attr->has_xattrs ? CSVP_ATTR_HAS_XATTRS : 0),
	};
}

void csvp_get_attr(struct csv_attr *attr, const struct csvp_attr *in)
{
	*attr = (struct csv_attr){
		.ino = le64_get(in->ino),
		.mode = le32_get(in->mode),
		.nlink = le32_get(in->nlink),
		.uid = le32_get(in->uid),
		.gid = le32_get(in->gid),
		.size = le64_get(in->size),
		.nr_blks = le64_get(in->nr_blks),
		.rdev = le64_get(in->rdev),
		.atime_ns = (int64_t)le64_get(in->atime_ns),
		.mtime_ns = (int64_t)le64_get(in->mtime_ns),
		.ctime_ns = (int64_t)le64_get(in->ctime_ns),
		.btime_ns = (int64_t)le64_get(in->btime_ns),
		.has_xattrs = le32_get(in->flags) & CSVP_ATTR_HAS_XATTRS,
	};
}

const char *csvp_op_name(unsigned op)
{
	static const char *const names[CSVP_OP_LIMIT] = {
		[CSVP_HELLO] = "HELLO",
		[CSVP_REASSERT] = "REASSERT",
		[CSVP_LOOKUP] = "LOOKUP",
		[CSVP_GETATTR] = "GETATTR",
		[CSVP_SETATTR] = "SETATTR",
		[CSVP_CREATE] = "CREATE",
		[CSVP_LINK] = "LINK",
		[CSVP_UNLINK] = "UNLINK",
		[CSVP_RENAME] = "RENAME",
		[CSVP_READLINK] = "READLINK",
		[CSVP_READDIR] = "READDIR",
		[CSVP_OPEN] = "OPEN",
		[CSVP_CLOSE] = "CLOSE",
		[CSVP_LAYOUT] = "LAYOUT",
		[CSVP_COMMIT] = "COMMIT",
		[CSVP_WRITE_INLINE] = "WRITE_INLINE",
		[CSVP_FALLOCATE] = "FALLOCATE",
		[CSVP_SEEK] = "SEEK",
		[CSVP_STATFS] = "STATFS",
		[CSVP_SYNC] = "SYNC",
		[CSVP_CLONE] = "CLONE",
		[CSVP_MAP] = "MAP",
		[CSVP_GETXATTR] = "GETXATTR",
		[CSVP_SETXATTR] = "SETXATTR",
		[CSVP_PROJECT_GET] = "PROJECT_GET",
		[CSVP_PROJECT_SET] = "PROJECT_SET",
		[CSVP_LISTXATTR] = "LISTXATTR",
		[CSVP_REMOVEXATTR] = "REMOVEXATTR",
		[CSVP_LOCK] = "LOCK",
		[CSVP_GETLK] = "GETLK",
		[CSVP_LOCK_CANCEL] = "LOCK_CANCEL",
		[CSVP_REASSERT_LOCKS] = "REASSERT_LOCKS",
		[CSVP_RECALL] = "RECALL",
		[CSVP_TIMES] = "TIMES",
		[CSVP_FORGET] = "FORGET",
		[CSVP_REFRESH] = "REFRESH",
		[CSVP_MEASURE] = "MEASURE",
		[CSVP_RESIZED] = "RESIZED",
		[CSVP_GROW] = "GROW",
	};
	return op < CSVP_OP_LIMIT && names[op] ? names[op] : "?";
}
