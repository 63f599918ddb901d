/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Extended attributes and access control lists. Nodes cache nothing of them but whether a file has
 * capabilities that a write takes away: who gives it some recalls every token first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"

/* The name behind the struct. NULL: the message is shorter than it says. */
static const char *name_of(struct request *r, struct csvp_in *in)
{
	const struct csvp_xattr *b = r->body;

	*in = r->in;
	return csvp_get(in, le32_get(b->name_len));
}

static bool name_is(const struct request *r, const char *name, const char *what)
{
	const struct csvp_xattr *b = r->body;

	return le32_get(b->name_len) == strlen(what) && memcmp(name, what, strlen(what)) == 0;
}

/* ---- reading: r->size is the length, r->io_buf the bytes if they are wanted ---- */

static int room(struct request *r, uint32_t *ret)
{
	const struct csvp_xattr *b = r->body;

	*ret = MIN(le32_get(b->value_len), MAX(CSV_XATTR_VALUE_MAX, CSV_XATTR_LIST_MAX));
	if (*ret && !r->io_buf)
		r->io_buf = malloc(*ret);
	return *ret && !r->io_buf ? -ENOMEM : 0;
}

int run_getxattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_xattr *b = r->body;
	struct csvp_in in;
	const char *name = name_of(r, &in);
	uint32_t len;
	int err = name ? room(r, &len) : -EPROTO;

	if (!err)
		err = csv_xattr_get(txn, le64_get(b->ino), name, le32_get(b->name_len), r->io_buf,
			&len);
	r->size = err ? 0 : len;
	return err;
}

int run_listxattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_xattr *b = r->body;
	uint32_t len;
	int err = room(r, &len);

	if (!err)
		err = csv_xattr_list(txn, le64_get(b->ino), r->io_buf, &len);
	r->size = err ? 0 : len;
	return err;
}

void reply_xattr(struct request *r)
{
	struct csvp_size *out = csvp_put(&r->reply, sizeof(*out));

	if (out)
		out->size = le64_of(r->size);
	if (r->io_buf)
		csvp_put_bytes(&r->reply, r->io_buf, (uint32_t)r->size);
}

/* ---- changing ---- */

static int run_setxattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_xattr *b = r->body;
	uint32_t len = le32_get(b->value_len), flags = le32_get(b->flags);
	int64_t now = (int64_t)le64_get(b->now_ns);
	struct csvp_in in;
	const char *name = name_of(r, &in);
	const void *value = name ? csvp_get(&in, len) : NULL;

	if (!name || !value)
		return -EPROTO;
	if (name_is(r, name, CSV_ACL_ACCESS) || name_is(r, name, CSV_ACL_DEFAULT))
		return csv_acl_set(txn, le64_get(b->ino), name_is(r, name, CSV_ACL_DEFAULT), value,
			len, flags & CSVP_XATTR_DROP_SGID, now, &r->attr);
	return csv_xattr_set(txn, le64_get(b->ino), name, le32_get(b->name_len), value, len,
		flags & (CSV_XATTR_CREATE | CSV_XATTR_REPLACE), now);
}

static void setxattr_go(struct request *r, int status)
{
	if (status)
		request_finish(r, status);
	else
		request_run(r, run_setxattr, request_finish);
}

void start_setxattr(struct request *r)
{
	const struct csvp_xattr *b = r->body;
	struct csvp_in in;
	const char *name = name_of(r, &in);
	bool priv = name && name_is(r, name, "security.capability");
	int err = priv ? ci_attach(r, le64_get(b->ino)) : 0;

	if (err || !priv)
		setxattr_go(r, err);
	else
		section_enter(r, ALL_NODES, CSVP_NONE, setxattr_go);
}

int run_removexattr(struct request *r, struct csv_txn *txn)
{
	const struct csvp_xattr *b = r->body;
	struct csvp_in in;
	const char *name = name_of(r, &in);

	return name ? csv_xattr_remove(txn, le64_get(b->ino), name, le32_get(b->name_len),
			      (int64_t)le64_get(b->now_ns)) :
		      -EPROTO;
}

