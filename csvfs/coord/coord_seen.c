/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What nodes keep of what they were told: attributes, names (docs/DESIGN.md, 5).
 *
 * S1  A node keeps only what a reply marked, and only of inodes in coord.seen with its bit set.
 * S2  When a transaction has changed an inode, every node with a bit is told to forget it, and who
 *     made the change hears of it only after they all have answered. So what was acknowledged is what
 *     every later call sees. Its own node is told, too; its answer need not be waited for, since the
 *     reply comes behind on the same channel.
 * S3  Attributes of a file that somebody may write to in place are not kept: only the writer knows
 *     its times. A write token is granted after all have forgotten.
 * S4  A node opens a directory without a word while it keeps its attributes, so while its bit is set. It
 *     says so when it answers a FORGET, and from then on the coordinator knows it as open. Who makes a
 *     change does not answer: its bit stays, on directories. So what has no OPEN has a bit; and when a
 *     directory loses its name, all who have it open have said so before anybody looks whether to free
 *     it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "csvfs/coord/coord_internal.h"
#include "util/checked.h"
#include "util/log.h"

#define SEEN_MAX (256u << 10) /* inodes; about 20 MB. Far more than one reply tells of (evict()) */
#define EVICT_NR 256u

struct seen {
	struct htab_node hash; /* key: inode number */
	struct list lru;       /* coord.seen_lru */
	uint64_t nodes;
	bool dir;
};

static struct seen *find(struct coord *coord, uint64_t ino)
{
	struct htab_node *n = htab_find(&coord->seen, ino);

	return n ? container_of(n, struct seen, hash) : NULL;
}

static void drop(struct coord *coord, struct seen *s)
{
	htab_remove(&coord->seen, &s->hash);
	list_del(&s->lru);
	free(s);
}

/* ---- forgetting ---- */

/* It is open there (S4); CLOSE will come. */
static void note_open(struct coord *coord, uint32_t node, uint64_t ino)
{
	struct coord_inode *ci = ci_get(coord, ino);

	if (!ci) {
		log_warn("inode %llu: no memory to note that node %u has it open: it will not be there "
			 "any more for it once it is removed", (unsigned long long)ino, node);
		return;
	}
	ci_set_open(coord, ci, node, true);
	ci->asserted |= NODE_BIT(node);
}

static void forget_done(struct callback *cb, const struct csvp_recall_reply *reply)
{
	struct request *r = cb->r;

	if (reply && le32_get(reply->open))
		note_open(cb->coord, cb->node, cb->ino);
	if (cb->orphan)
		orphan_check(cb->coord, cb->ino);
	if (--r->nr_forgets == 0)
		r->forgotten(r);
}

static void tell(struct request *r, uint32_t node, uint64_t ino)
{
	struct coord *coord = r->coord;

	if (coord->cfg.no_recall) /* a twin of a test: others go on with what they know */
		return;
	if (callback_send(r, node, CSVP_FORGET, ino, CSVP_NONE, forget_done)) {
		/* It would go on with what is not true any more. */
		log_error("out of memory to have node %u forget an inode", node);
		coord->cfg.fence(coord->cfg.arg, node, "no memory to have it forget an inode");
		return;
	}
	r->nr_forgets++;
}

static void forget(struct request *r, struct seen *s)
{
	uint64_t nodes = s->nodes, ino = s->hash.key, own = r->silent ? 0 : nodes & NODE_BIT(r->node);

	if (own && s->dir && (ino == r->nameless || r->op.nr_changed > CSV_OP_CHANGED_MAX))
		own = 0; /* what it says is wanted */
	if (own && s->dir)
		s->nodes = own;
	else
		drop(r->coord, s);
	if (own)
		callback_tell(r->coord, r->node, CSVP_FORGET, ino);
	for (uint32_t node = 1; node < NR_NODES; node++)
		if (nodes & ~own & NODE_BIT(node))
			tell(r, node, ino);
}

/* All are asked. */
static void forget_end(struct request *r)
{
	r->outdated = --r->nr_forgets > 0;
	if (r->nr_forgets == 0)
		r->forgotten(r);
}

void seen_changed(struct request *r, void (*forgotten)(struct request *r))
{
	const struct csv_op *op = &r->op;
	struct coord *coord = r->coord;
	struct seen *s;

	r->forgotten = forgotten;
	r->nr_forgets = 1; /* none of the answers is the last one before all are asked */
	if (op->nr_changed > CSV_OP_CHANGED_MAX) { /* all that there is */
		while (!list_empty(&coord->seen_lru))
			forget(r, list_entry(coord->seen_lru.next, struct seen, lru));
	} else {
		for (uint32_t i = 0; i < op->nr_changed; i++)
			if ((s = find(coord, op->changed[i])))
				forget(r, s);
	}
	forget_end(r);
}

void seen_forget(struct request *r, uint64_t ino, void (*forgotten)(struct request *r))
{
	struct seen *s = find(r->coord, ino);

	r->forgotten = forgotten;
	r->nr_forgets = 1;
	if (s)
		forget(r, s);
	forget_end(r);
}

static void evicted(struct request *r)
{
	request_finish(r, 0);
}

static uint64_t seen_max(const struct coord *coord)
{
	return coord->cfg.seen_max ? coord->cfg.seen_max : SEEN_MAX;
}

/* Makes room: those that were told about longest ago. A listing may have told of more than EVICT_NR; of
 * what the reply says that is about to be sent nothing may go, since the node hears of that before. */
static void evict(struct coord *coord)
{
	struct request *r = request_new_internal(coord, 0);

	if (!r)
		return;
	r->forgotten = evicted;
	r->nr_forgets = 1;
	for (unsigned i = 0; i < EVICT_NR || htab_count(&coord->seen) > seen_max(coord); i++)
		forget(r, list_entry(coord->seen_lru.next, struct seen, lru));
	forget_end(r);
}

/* ---- granting ---- */

/* r's node may keep what it is told of ino. */
static bool grant(struct request *r, uint64_t ino, bool dir)
{
	struct coord *coord = r->coord;
	struct seen *s = find(coord, ino);

	if (!s) {
		s = calloc(1, sizeof(*s));
		if (!s)
			return false;
		htab_insert(&coord->seen, ino, &s->hash);
		list_init(&s->lru);
	}
	list_del(&s->lru);
	list_add_tail(&coord->seen_lru, &s->lru);
	s->nodes |= NODE_BIT(r->node);
	s->dir = dir;
	return true;
}

static bool grant_attr(struct request *r, uint64_t ino, uint32_t mode)
{
	struct coord_inode *ci = ci_find(r->coord, ino);

	if (ci)
		for (uint32_t node = 1; node < NR_NODES; node++)
			if (ci->mode[node] >= CSVP_WRITE)
				return false; /* S3 */
	return grant(r, ino, S_ISDIR(mode));
}

static void grant_dirents(struct request *r)
{
	uint32_t pos = sizeof(struct csvp_hdr);

	while (pos + sizeof(struct csvp_dirent) <= r->reply.len) {
		struct csvp_dirent *ent = (struct csvp_dirent *)(r->reply.data + pos);
		if (grant_attr(r, le64_get(ent->attr.ino), le32_get(ent->attr.mode)))
			ent->type = le32_of(le32_get(ent->type) | CSVP_DIRENT_KEEP);
		pos += (uint32_t)sizeof(*ent) + ALIGN_UP(le32_get(ent->name_len), 8u);
	}
}

/* The answer goes out in this very turn: what it says is true until somebody is told otherwise. */
void seen_grant(struct request *r, int status)
{
	uint32_t flags = 0;

	if (r->outdated || (status && status != -ENOENT))
		return;
	switch (le16_get(r->hdr->op)) {
	case CSVP_LOOKUP:
		if (grant(r, le64_get(((const struct csvp_name *)r->body)->dir), true))
			flags |= CSVP_KEEP_NAMES;
		if (!status && grant_attr(r, r->attr.ino, r->attr.mode))
			flags |= CSVP_KEEP_ATTR;
		break;
	case CSVP_GETATTR:
		if (!status && grant_attr(r, r->attr.ino, r->attr.mode))
			flags |= CSVP_KEEP_ATTR;
		break;
	case CSVP_CREATE: /* what was made, and its directory */
		if (!status && r->attr2.ino && grant_attr(r, r->attr.ino, r->attr.mode) &&
			grant_attr(r, r->attr2.ino, r->attr2.mode))
			flags |= CSVP_KEEP_ATTR;
		break;
	case CSVP_READDIR:
		if (status || !grant(r, le64_get(((const struct csvp_readdir *)r->body)->dir), true))
			break;
		grant_dirents(r);
		flags |= CSVP_KEEP_NAMES;
		break;
	}
	struct csvp_hdr *hdr = csvp_hdr(&r->reply);
	hdr->flags = le32_of(le32_get(hdr->flags) | flags);
	if (htab_count(&r->coord->seen) > seen_max(r->coord))
		evict(r->coord);
}

void seen_node_gone(struct coord *coord, uint32_t node)
{
	struct list *pos, *tmp;

	list_for_each_safe (pos, tmp, &coord->seen_lru) {
		struct seen *s = list_entry(pos, struct seen, lru);
		s->nodes &= ~NODE_BIT(node);
		if (!s->nodes)
			drop(coord, s);
	}
}

void seen_done(struct coord *coord)
{
	while (!list_empty(&coord->seen_lru))
		drop(coord, list_entry(coord->seen_lru.next, struct seen, lru));
	htab_done(&coord->seen);
}
