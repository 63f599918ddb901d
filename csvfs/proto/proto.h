/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Building and checking messages. */
#ifndef CSVFS_PROTO_H
#define CSVFS_PROTO_H

#include <stdbool.h>

#include "csvfs/core/fs.h"
#include "csvfs/proto/proto_format.h"

/* A message in memory: one malloc, len bytes in use, header included. */
struct csvp_msg {
	uint32_t len, room;
	bool failed; /* an allocation failed, or it grew past CSVP_MAX_BYTES */
	uint8_t *data;
};

/* Every field but len and epoch, which stay 0. */
void csvp_hdr_init(struct csvp_hdr *hdr, enum csvp_op op, uint32_t flags, int status, uint64_t xid);
/* Starts a message; header fields but len are set from the arguments. Check msg->failed at the end
 * (csvp_finish). */
void csvp_begin(struct csvp_msg *msg, enum csvp_op op, uint32_t flags, int status, uint64_t xid);
/* Appends len zeroed bytes and returns where they are (valid until the next append), or NULL. */
void *csvp_put(struct csvp_msg *msg, uint32_t len);
void csvp_put_bytes(struct csvp_msg *msg, const void *bytes, uint32_t len);
/* Sets hdr.len. -ENOMEM or -E2BIG if the message failed. */
int csvp_finish(struct csvp_msg *msg) __attribute__((warn_unused_result));
void csvp_free(struct csvp_msg *msg);
static inline struct csvp_hdr *csvp_hdr(struct csvp_msg *msg)
{
	return (struct csvp_hdr *)msg->data;
}

/* A received message, read from front to back. */
struct csvp_in {
	const struct csvp_hdr *hdr;
	const uint8_t *pos, *end;
};

/* Checks the header of len bytes (hostile). -EPROTO, -ERR_VERSION. */
int csvp_open(struct csvp_in *in, const void *data, uint32_t len)
	__attribute__((warn_unused_result));
/* The next len bytes, or NULL when there are fewer. */
const void *csvp_get(struct csvp_in *in, uint64_t len);
static inline uint32_t csvp_left(const struct csvp_in *in)
{
	return (uint32_t)(in->end - in->pos);
}
static inline int csvp_status(const struct csvp_hdr *hdr)
{
	return (int32_t)le32_get(hdr->status);
}

void csvp_put_attr(struct csvp_attr *out, const struct csv_attr *attr);
void csvp_get_attr(struct csv_attr *attr, const struct csvp_attr *in);

/* "LOOKUP"; "?" for an unknown op. */
const char *csvp_op_name(unsigned op);

#endif
