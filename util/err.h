/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Error codes. Every function of csvfs returns 0 or a negative code: an errno, or one of the
 * private codes below, which keep apart what errno would fold together. They are mapped to errno
 * at the FUSE boundary only (err_to_errno).
 */
#ifndef UTIL_ERR_H
#define UTIL_ERR_H

enum err_code {
	ERR_FIRST = 100000,
	ERR_CORRUPT = ERR_FIRST, /* a block whose checksum or structure is wrong */
	ERR_STALE,		 /* an answer or record of an older epoch or generation */
	ERR_FENCED,		 /* this node was fenced: nothing it sends may be carried out */
	ERR_TRANSPORT,		 /* the path to the device or peer is lost; may come back */
	ERR_WAIT,		 /* engine only: a block is being read, run the operation again */
	ERR_MOVED,		 /* the coordinator is elsewhere now */
	ERR_VERSION,		 /* a format, feature or protocol version that we do not know */
	ERR_NOTCSV,		 /* not a csvfs volume */
	ERR_KEY,		 /* the volume key is wrong */
	ERR_MOUNTED,		 /* this node has the volume mounted already */
	ERR_LAST
};

/* A short text for a negative code of ours or a negative errno. Never NULL, static storage. */
const char *err_str(int err);

/* The (positive) errno that an application sees for the negative code err. */
int err_to_errno(int err);

#endif
