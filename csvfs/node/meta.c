/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "csvfs/node/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"

#define MAX_BYTES (64ull << 20)

struct meta_inode {
	struct htab_node hash; /* key: inode number */
	struct list lru;
	bool has_attr;
	struct csvp_attr attr;
	struct list names, parts; /* of a directory */
};

struct meta_name {
	struct htab_node hash; /* key: of directory and name */
	struct list link;      /* meta_inode.names */
	uint64_t dir, ino;     /* ino 0: there is no such name */
	uint32_t len;
	char name[];
};

/* A reply to READDIR. */
struct meta_part {
	struct list link; /* meta_inode.parts */
	uint64_t after;
	uint32_t len;
	uint8_t data[];
};

/* FNV-1a, over the directory's number and the name. Who can choose names can make chains long, in
 * this node's own memory alone, up to the bound. */
static uint64_t name_key(uint64_t dir, const char *name, uint32_t len)
{
	uint64_t h = 0xcbf29ce484222325ull ^ dir * 0x9e3779b97f4a7c15ull;

	for (uint32_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)name[i]) * 0x100000001b3ull;
	return h;
}

static struct meta_inode *find_inode(const struct meta *m, uint64_t ino)
{
	struct htab_node *n = htab_find(&m->inodes, ino);

	return n ? container_of(n, struct meta_inode, hash) : NULL;
}

static struct meta_name *find_name(const struct meta *m, uint64_t dir, const char *name, uint32_t len)
{
	struct htab_node *n = htab_find(&m->names, name_key(dir, name, len));

	for (; n; n = htab_next_same(n)) {
		struct meta_name *mn = container_of(n, struct meta_name, hash);
		if (mn->dir == dir && mn->len == len && !memcmp(mn->name, name, len))
			return mn;
	}
	return NULL;
}

static void drop_name(struct meta *m, struct meta_name *mn)
{
	htab_remove(&m->names, &mn->hash);
	list_del(&mn->link);
	m->bytes -= sizeof(*mn) + mn->len;
	free(mn);
}

static void drop_part(struct meta *m, struct meta_part *part)
{
	list_del(&part->link);
	m->bytes -= sizeof(*part) + part->len;
	free(part);
}

static void drop_inode(struct meta *m, struct meta_inode *mi)
{
	while (!list_empty(&mi->names))
		drop_name(m, list_entry(mi->names.next, struct meta_name, link));
	while (!list_empty(&mi->parts))
		drop_part(m, list_entry(mi->parts.next, struct meta_part, link));
	htab_remove(&m->inodes, &mi->hash);
	list_del(&mi->lru);
	m->bytes -= sizeof(*mi);
	free(mi);
}

static void used(struct meta *m, struct meta_inode *mi)
{
	list_del(&mi->lru);
	list_add_tail(&m->lru, &mi->lru);
}

/* Finds or makes; NULL: no memory. */
static struct meta_inode *get_inode(struct meta *m, uint64_t ino)
{
	struct meta_inode *mi = find_inode(m, ino);

	if (mi) {
		used(m, mi);
		return mi;
	}
	mi = calloc(1, sizeof(*mi));
	if (!mi)
		return NULL;
	list_init(&mi->names);
	list_init(&mi->parts);
	htab_insert(&m->inodes, ino, &mi->hash);
	list_add_tail(&m->lru, &mi->lru);
	m->bytes += sizeof(*mi);
	return mi;
}

static void keep_attr(struct meta *m, const struct csvp_attr *attr)
{
	struct meta_inode *mi = get_inode(m, le64_get(attr->ino));

	if (!mi)
		return;
	mi->attr = *attr;
	mi->has_attr = true;
}

static void keep_name(struct meta *m, uint64_t dir, const char *name, uint32_t len, uint64_t ino)
{
	struct meta_inode *mi = get_inode(m, dir);
	struct meta_name *mn = find_name(m, dir, name, len);

	if (!mi)
		return;
	if (mn) {
		mn->ino = ino;
		return;
	}
	mn = malloc(sizeof(*mn) + len);
	if (!mn)
		return;
	mn->dir = dir;
	mn->ino = ino;
	mn->len = len;
	memcpy(mn->name, name, len);
	htab_insert(&m->names, name_key(dir, name, len), &mn->hash);
	list_init(&mn->link);
	list_add_tail(&mi->names, &mn->link);
	m->bytes += sizeof(*mn) + len;
}

/* ---- learning ---- */

static void learn_lookup(struct meta *m, struct csvp_in *request, int status, struct csvp_in *reply,
	uint32_t flags)
{
	const struct csvp_name *b = csvp_get(request, sizeof(*b));
	const char *name = b ? csvp_get(request, le32_get(b->name_len)) : NULL;
	const struct csvp_attr *attr = status ? NULL : csvp_get(reply, sizeof(*attr));

	if (!name || (!status && !attr))
		return;
	if (flags & CSVP_KEEP_NAMES)
		keep_name(m, le64_get(b->dir), name, le32_get(b->name_len),
			attr ? le64_get(attr->ino) : 0);
	if (attr && (flags & CSVP_KEEP_ATTR))
		keep_attr(m, attr);
}

/* The next entry of a listing, and its name. NULL: there is none that is whole. */
static const struct csvp_dirent *next_entry(struct csvp_in *in, const char **ret_name)
{
	const struct csvp_dirent *ent = csvp_get(in, sizeof(*ent));
	uint32_t len = ent ? le32_get(ent->name_len) : 0;

	*ret_name = len && len <= CSV_NAME_MAX ? csvp_get(in, ALIGN_UP(len, 8u)) : NULL;
	return *ret_name ? ent : NULL;
}

/* Whether all of it is entries: what is kept is walked without looking again. */
static bool listing_is_whole(struct csvp_in in)
{
	const char *name;

	while (csvp_left(&in))
		if (!next_entry(&in, &name))
			return false;
	return true;
}

static void learn_listing(struct meta *m, struct csvp_in *request, struct csvp_in *reply)
{
	if (!listing_is_whole(*reply))
		return;
	const struct csvp_readdir *b = csvp_get(request, sizeof(*b));
	struct meta_inode *mi = b ? get_inode(m, le64_get(b->dir)) : NULL;
	uint32_t len = csvp_left(reply);
	struct meta_part *part = mi ? malloc(sizeof(*part) + len) : NULL;
	const struct csvp_dirent *ent;
	const char *name;
	struct list *pos, *tmp;

	if (!part)
		return;
	part->after = le64_get(b->after);
	part->len = len;
	memcpy(part->data, reply->pos, len);
	list_for_each_safe (pos, tmp, &mi->parts) { /* another one that began there */
		struct meta_part *old = list_entry(pos, struct meta_part, link);
		if (old->after == part->after)
			drop_part(m, old);
	}
	list_init(&part->link);
	list_add_tail(&mi->parts, &part->link);
	m->bytes += sizeof(*part) + len;
	while ((ent = next_entry(reply, &name))) {
		keep_name(m, le64_get(b->dir), name, le32_get(ent->name_len),
			le64_get(ent->attr.ino));
		if (le32_get(ent->type) & CSVP_DIRENT_KEEP)
			keep_attr(m, &ent->attr);
	}
}

/* K4: the request may have been made because of what is kept here and is not true any more. */
static bool contradicts(unsigned op, int status)
{
	return status == -ESTALE || status == -EEXIST || (status == -ENOENT && op != CSVP_LOOKUP);
}

void meta_learn(struct meta *m, const struct csvp_msg *request, int status, struct csvp_in reply)
{
	uint32_t flags = le32_get(reply.hdr->flags);
	unsigned op = le16_get(reply.hdr->op);
	struct csvp_in in;

	if (csvp_open(&in, request->data, request->len))
		return;
	if (contradicts(op, status)) {
		const struct csvp_ino *first = csvp_get(&in, sizeof(*first)); /* each begins with it */
		if (first)
			meta_forget(m, le64_get(first->ino));
		return;
	}
	if (!(flags & (CSVP_KEEP_ATTR | CSVP_KEEP_NAMES)))
		return;
	pthread_mutex_lock(&m->lock);
	switch (op) {
	case CSVP_LOOKUP:
		learn_lookup(m, &in, status, &reply, flags);
		break;
	case CSVP_GETATTR: {
		const struct csvp_attr *attr = status ? NULL : csvp_get(&reply, sizeof(*attr));
		if (attr)
			keep_attr(m, attr);
		break;
	}
	case CSVP_CREATE: { /* what was made, and its directory */
		const struct csvp_attr *attr;
		while (!status && (attr = csvp_get(&reply, sizeof(*attr))))
			keep_attr(m, attr);
		break;
	}
	case CSVP_READDIR:
		if (!status)
			learn_listing(m, &in, &reply);
		break;
	}
	while (m->bytes > MAX_BYTES && !list_empty(&m->lru))
		drop_inode(m, list_entry(m->lru.next, struct meta_inode, lru));
	pthread_mutex_unlock(&m->lock);
}

void meta_forget(struct meta *m, uint64_t ino)
{
	pthread_mutex_lock(&m->lock);
	struct meta_inode *mi = find_inode(m, ino);
	if (mi)
		drop_inode(m, mi);
	pthread_mutex_unlock(&m->lock);
}

void meta_clear(struct meta *m)
{
	pthread_mutex_lock(&m->lock);
	while (!list_empty(&m->lru))
		drop_inode(m, list_entry(m->lru.next, struct meta_inode, lru));
	pthread_mutex_unlock(&m->lock);
}

/* ---- looking ---- */

static bool attr_of(struct meta *m, uint64_t ino, struct csvp_attr *ret)
{
	struct meta_inode *mi = find_inode(m, ino);

	if (!mi || !mi->has_attr)
		return false;
	used(m, mi);
	*ret = mi->attr;
	return true;
}

bool meta_getattr(struct meta *m, uint64_t ino, struct csvp_attr *ret)
{
	pthread_mutex_lock(&m->lock);
	bool known = attr_of(m, ino, ret);
	m->hits += known;
	pthread_mutex_unlock(&m->lock);
	return known;
}

bool meta_lookup(struct meta *m, uint64_t dir, const char *name, uint32_t len, struct csvp_attr *ret,
	int *ret_status)
{
	pthread_mutex_lock(&m->lock);
	const struct meta_name *mn = find_name(m, dir, name, len);
	bool known = mn && (!mn->ino || attr_of(m, mn->ino, ret));
	if (known)
		*ret_status = mn->ino ? 0 : -ENOENT;
	m->hits += known;
	pthread_mutex_unlock(&m->lock);
	return known;
}

/* Puts the attributes that are known now into a copy of part. False: some are not. */
static bool refresh(struct meta *m, uint8_t *data, uint32_t len)
{
	uint32_t pos = 0;

	while (pos + sizeof(struct csvp_dirent) <= len) {
		struct csvp_dirent *ent = (struct csvp_dirent *)(data + pos);
		if (!attr_of(m, le64_get(ent->attr.ino), &ent->attr))
			return false;
		pos += (uint32_t)sizeof(*ent) + ALIGN_UP(le32_get(ent->name_len), 8u);
	}
	return true;
}

bool meta_readdir(struct meta *m, uint64_t dir, uint64_t after, uint8_t **ret, uint32_t *ret_len)
{
	struct list *pos;
	bool known = false;

	pthread_mutex_lock(&m->lock);
	struct meta_inode *mi = find_inode(m, dir);
	if (mi) {
		list_for_each (pos, &mi->parts) {
			const struct meta_part *part = list_entry(pos, struct meta_part, link);
			if (part->after != after)
				continue;
			*ret = malloc(part->len + 1);
			*ret_len = part->len;
			if (*ret)
				memcpy(*ret, part->data, part->len);
			known = *ret && refresh(m, *ret, part->len);
			if (!known)
				free(*ret);
			break;
		}
	}
	m->hits += known;
	pthread_mutex_unlock(&m->lock);
	return known;
}

void meta_init(struct meta *m)
{
	*m = (struct meta){ 0 };
	pthread_mutex_init(&m->lock, NULL);
	htab_init(&m->inodes);
	htab_init(&m->names);
	list_init(&m->lru);
}

void meta_done(struct meta *m)
{
	meta_clear(m);
	htab_done(&m->inodes);
	htab_done(&m->names);
	pthread_mutex_destroy(&m->lock);
}
