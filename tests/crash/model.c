/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/crash/model.h"

#include <errno.h>
#include <sys/stat.h>

#include "csvfs/core/format.h"
#include "tests/unit/test.h"
#include "util/checked.h"

static void *grown(void *array, uint32_t nr, uint32_t *max, size_t size)
{
	if (nr < *max)
		return array;
	*max = *max ? *max * 2 : 64;
	array = reallocarray(array, *max, size);
	CHECK(array);
	return array;
}

/* ---- digests ---- */

static uint64_t mix(uint64_t hash, uint64_t x)
{
	hash = (hash ^ x) * 0x9e3779b97f4a7c15;
	return hash ^ (hash >> 29);
}

static uint64_t mix_bytes(uint64_t hash, const char *p, uint32_t len)
{
	while (len-- > 0)
		hash = (hash ^ (uint8_t)*p++) * 1099511628211ull;
	return mix(hash, 1);
}

uint64_t digest_entry(uint64_t dir, const char *name, uint32_t len, const struct seen *s)
{
	uint64_t hash = mix_bytes(mix(14695981039346656037ull, dir), name, len);

	hash = mix(hash, s->ino);
	hash = mix(hash, s->size);
	hash = mix(hash, s->rdev);
	hash = mix(hash, (uint64_t)s->mode << 32 | s->nlink);
	hash = mix(hash, (uint64_t)s->uid << 32 | s->gid);
	hash = mix(hash, (uint64_t)s->projid << 1 | s->inherit);
	return mix_bytes(hash, s->target, s->target_len);
}

uint64_t digest_value(const void *value, uint32_t len)
{
	return mix_bytes(mix(31, len), value, len);
}

uint64_t digest_xattr(uint64_t ino, const char *name, uint64_t hash)
{
	return mix(mix_bytes(mix(99, ino), name, (uint32_t)strlen(name)), hash);
}

uint64_t digest_limit(uint32_t projid, uint64_t limit)
{
	return limit ? mix(mix(55, projid), limit) : 0;
}

uint64_t digest_slot(uint32_t node, uint32_t slot, uint64_t seq)
{
	return seq ? mix(mix(mix(77, node), slot), seq) : 0;
}

uint64_t digest_session(uint32_t node, uint64_t generation)
{
	return mix(mix(78, node), generation);
}

static uint64_t slots_digest(const struct model *m)
{
	uint64_t sum = 1;

	for (uint32_t node = 1; node <= MODEL_NODES; node++) {
		sum += digest_session(node, m->generations[node]);
		for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++)
			sum += digest_slot(node, slot, m->slots[node][slot]);
	}
	return sum;
}

static uint64_t inode_digest(uint64_t dir, const char *name, const struct model_inode *i)
{
	struct seen s = { .ino = i->ino, .size = i->size, .rdev = i->rdev, .mode = i->mode,
		.nlink = i->nlink, .projid = i->projid, .inherit = i->inherit,
		.target = i->target ? i->target : "",
		.target_len = i->target ? (uint32_t)strlen(i->target) : 0 };

	return digest_entry(dir, name, (uint32_t)strlen(name), &s);
}

static uint64_t names_digest(struct model *m)
{
	uint64_t sum = inode_digest(0, "/", model_inode(m, CSV_ROOT_INO));

	for (uint32_t i = 0; i < m->nr_entries; i++)
		sum += inode_digest(m->entries[i].dir, m->entries[i].name,
			model_inode(m, m->entries[i].ino));
	for (uint32_t i = 0; i < m->nr_xattrs; i++)
		sum += digest_xattr(m->xattrs[i].ino, m->xattrs[i].name, m->xattrs[i].hash);
	for (uint32_t projid = 1; projid < MODEL_PROJECTS; projid++)
		sum += digest_limit(projid, m->limits[projid]);
	return sum;
}

/* ---- names ---- */

struct model_inode *model_inode(struct model *m, uint64_t ino)
{
	for (uint32_t i = 0; i < m->nr_inodes; i++)
		if (m->inodes[i].ino == ino)
			return &m->inodes[i];
	return NULL;
}

struct model_entry *model_lookup(struct model *m, uint64_t dir, const char *name)
{
	for (uint32_t i = 0; i < m->nr_entries; i++)
		if (m->entries[i].dir == dir && strcmp(m->entries[i].name, name) == 0)
			return &m->entries[i];
	return NULL;
}

static struct model_inode *inode_add(struct model *m, uint64_t ino, uint32_t mode)
{
	m->inodes = grown(m->inodes, m->nr_inodes, &m->max_inodes, sizeof(*m->inodes));
	struct model_inode *i = &m->inodes[m->nr_inodes++];
	*i = (struct model_inode){ .ino = ino, .mode = mode };
	return i;
}

static struct model_xattr *xattr_find(struct model *m, uint64_t ino, const char *name)
{
	for (uint32_t i = 0; i < m->nr_xattrs; i++)
		if (m->xattrs[i].ino == ino && (!name || strcmp(m->xattrs[i].name, name) == 0))
			return &m->xattrs[i];
	return NULL;
}

static void xattr_drop(struct model *m, struct model_xattr *x)
{
	*x = m->xattrs[--m->nr_xattrs];
}

static void xattr_put(struct model *m, uint64_t ino, const char *name, uint64_t hash)
{
	struct model_xattr *x = xattr_find(m, ino, name);

	if (!x) {
		m->xattrs = grown(m->xattrs, m->nr_xattrs, &m->max_xattrs, sizeof(*m->xattrs));
		x = &m->xattrs[m->nr_xattrs++];
		x->ino = ino;
		snprintf(x->name, sizeof(x->name), "%s", name);
	}
	x->hash = hash;
}

static void inode_drop(struct model *m, struct model_inode *i)
{
	struct model_xattr *x;

	while ((x = xattr_find(m, i->ino, NULL)))
		xattr_drop(m, x);
	free(i->target);
	*i = m->inodes[--m->nr_inodes];
}

static void entry_add(struct model *m, uint64_t dir, const char *name, uint64_t ino)
{
	m->entries = grown(m->entries, m->nr_entries, &m->max_entries, sizeof(*m->entries));
	struct model_entry *e = &m->entries[m->nr_entries++];
	e->dir = dir;
	e->ino = ino;
	snprintf(e->name, sizeof(e->name), "%s", name);
	model_inode(m, dir)->size++;
}

static void entry_drop(struct model *m, struct model_entry *e)
{
	model_inode(m, e->dir)->size--;
	*e = m->entries[--m->nr_entries];
}

/* A name of ino was taken away. */
static void unnamed(struct model *m, uint64_t ino)
{
	struct model_inode *i = model_inode(m, ino);

	if (S_ISDIR(i->mode)) {
		model_inode(m, i->parent)->nlink--;
		inode_drop(m, i);
	} else if (--i->nlink == 0) {
		inode_drop(m, i);
	}
}

static bool is_below(struct model *m, uint64_t dir, uint64_t ino)
{
	while (dir != ino && dir != CSV_ROOT_INO)
		dir = model_inode(m, dir)->parent;
	return dir == ino;
}

static int try_replace(const struct model_inode *moved, const struct model_inode *other)
{
	if (S_ISDIR(moved->mode) && !S_ISDIR(other->mode))
		return -ENOTDIR;
	if (!S_ISDIR(moved->mode) && S_ISDIR(other->mode))
		return -EISDIR;
	return S_ISDIR(other->mode) && other->size ? -ENOTEMPTY : 0;
}

/* What dir gives its project to must be of it already. */
static bool may_enter(struct model *m, uint64_t dir, const struct model_inode *i)
{
	const struct model_inode *d = model_inode(m, dir);

	return !d->inherit || d->projid == i->projid;
}

static int try_rename(struct model *m, const struct step *s)
{
	struct model_entry *from = model_lookup(m, s->dir, s->name);
	struct model_entry *to = model_lookup(m, s->new_dir, s->new_name);

	if (!from)
		return -ENOENT;
	struct model_inode *a = model_inode(m, from->ino), *b = to ? model_inode(m, to->ino) : NULL;
	if (s->flags & CSV_RENAME_EXCHANGE) {
		if (!b)
			return -ENOENT;
		if (S_ISDIR(b->mode) && is_below(m, s->dir, b->ino))
			return -EINVAL;
	}
	if (S_ISDIR(a->mode) && is_below(m, s->new_dir, a->ino))
		return -EINVAL;
	if (s->dir != s->new_dir && a != b && !may_enter(m, s->new_dir, a))
		return -EXDEV;
	if (s->dir != s->new_dir && a != b && (s->flags & CSV_RENAME_EXCHANGE) &&
		!may_enter(m, s->dir, b))
		return -EXDEV;
	if (s->flags & CSV_RENAME_EXCHANGE)
		return 0;
	if (b && (s->flags & CSV_RENAME_NOREPLACE))
		return -EEXIST;
	if (b && a != b) {
		if (S_ISDIR(b->mode) && S_ISDIR(a->mode) && is_below(m, s->dir, b->ino))
			return -ENOTEMPTY;
		return try_replace(a, b);
	}
	return 0;
}

static int try_xattr(struct model *m, const struct step *s)
{
	bool there = xattr_find(m, s->ino, s->name);

	if (s->kind == STEP_NOXATTR)
		return there ? 0 : -ENODATA;
	if (there)
		return s->flags & CSV_XATTR_CREATE ? -EEXIST : 0;
	return s->flags & CSV_XATTR_REPLACE ? -ENODATA : 0;
}

int model_try(struct model *m, const struct step *s)
{
	struct model_inode *dir = s->dir ? model_inode(m, s->dir) : NULL;
	struct model_entry *e;

	if (s->kind == STEP_NONE || s->kind == STEP_LIMIT)
		return 0;
	if (s->kind >= STEP_MODE && !model_inode(m, s->ino))
		return -ESTALE;
	if (s->kind == STEP_MODE || s->kind == STEP_SIZE || s->kind == STEP_PROJECT)
		return 0;
	if (s->kind >= STEP_XATTR)
		return try_xattr(m, s);
	if (!dir || (s->new_dir && !model_inode(m, s->new_dir)))
		return -ENOENT; /* the directory is gone: or -ESTALE */
	e = model_lookup(m, s->dir, s->name);
	switch (s->kind) {
	case STEP_CREATE:
		return e ? -EEXIST : 0;
	case STEP_LINK:
		if (!model_inode(m, s->ino))
			return -ENOENT;
		if (!may_enter(m, s->dir, model_inode(m, s->ino)))
			return -EXDEV;
		return e ? -EEXIST : 0;
	case STEP_UNLINK:
		if (!e)
			return -ENOENT;
		return S_ISDIR(model_inode(m, e->ino)->mode) ? -EISDIR : 0;
	case STEP_RMDIR:
		if (!e)
			return -ENOENT;
		if (!S_ISDIR(model_inode(m, e->ino)->mode))
			return -ENOTDIR;
		return model_inode(m, e->ino)->size ? -ENOTEMPTY : 0;
	default:
		return try_rename(m, s);
	}
}

static void do_create(struct model *m, const struct step *s)
{
	struct model_inode *i = inode_add(m, s->ino, s->mode);

	const struct model_inode *dir = model_inode(m, s->dir);

	i->rdev = s->rdev;
	i->nlink = 1;
	i->projid = dir->inherit ? dir->projid : 0;
	i->inherit = dir->inherit && S_ISDIR(s->mode);
	if (S_ISDIR(s->mode)) {
		i->nlink = 2;
		i->parent = s->dir;
		model_inode(m, s->dir)->nlink++;
	}
	if (S_ISLNK(s->mode)) {
		i->target = strdup(s->target);
		i->size = strlen(s->target);
	}
	entry_add(m, s->dir, s->name, s->ino);
}

static void set_parent(struct model *m, uint64_t ino, uint64_t dir)
{
	struct model_inode *i = model_inode(m, ino);

	if (!S_ISDIR(i->mode))
		return;
	model_inode(m, i->parent)->nlink--;
	i->parent = dir;
	model_inode(m, dir)->nlink++;
}

static void do_rename(struct model *m, const struct step *s)
{
	struct model_entry *from = model_lookup(m, s->dir, s->name);
	struct model_entry *to = model_lookup(m, s->new_dir, s->new_name);
	uint64_t ino = from->ino, other = to ? to->ino : 0;

	if (ino == other)
		return;
	if (s->flags & CSV_RENAME_EXCHANGE) {
		from->ino = other;
		to->ino = ino;
		set_parent(m, ino, s->new_dir);
		set_parent(m, other, s->dir);
		return;
	}
	if (to) {
		to->ino = ino;
		unnamed(m, other);
		entry_drop(m, model_lookup(m, s->dir, s->name));
	} else {
		entry_drop(m, from);
		entry_add(m, s->new_dir, s->new_name, ino);
	}
	set_parent(m, ino, s->new_dir);
}

static void apply(struct model *m, const struct step *s)
{
	struct model_entry *e = s->dir ? model_lookup(m, s->dir, s->name) : NULL;

	switch (s->kind) {
	case STEP_NONE:
		break;
	case STEP_CREATE:
		do_create(m, s);
		break;
	case STEP_LINK:
		entry_add(m, s->dir, s->name, s->ino);
		model_inode(m, s->ino)->nlink++;
		break;
	case STEP_UNLINK:
	case STEP_RMDIR: {
		uint64_t ino = e->ino;

		entry_drop(m, e);
		unnamed(m, ino);
		break;
	}
	case STEP_RENAME:
		do_rename(m, s);
		break;
	case STEP_MODE:
		model_inode(m, s->ino)->mode = (model_inode(m, s->ino)->mode & S_IFMT) | s->mode;
		break;
	case STEP_SIZE:
		model_inode(m, s->ino)->size = s->size;
		break;
	case STEP_PROJECT:
		model_inode(m, s->ino)->projid = (uint32_t)s->size;
		model_inode(m, s->ino)->inherit = s->flags && S_ISDIR(model_inode(m, s->ino)->mode);
		break;
	case STEP_LIMIT:
		m->limits[s->size] = s->limit;
		break;
	case STEP_XATTR:
		xattr_put(m, s->ino, s->name, s->size);
		break;
	case STEP_NOXATTR:
		xattr_drop(m, xattr_find(m, s->ino, s->name));
		break;
	}
	if (!s->slot_node)
		return;
	if (m->generations[s->slot_node] != s->slot_generation)
		memset(m->slots[s->slot_node], 0, sizeof(m->slots[0]));
	m->generations[s->slot_node] = s->slot_generation;
	m->slots[s->slot_node][s->slot] = s->slot_seq;
}

/* ---- steps ---- */

static void names_init(struct model *m)
{
	struct model_inode *root = inode_add(m, CSV_ROOT_INO, S_IFDIR | 0755);

	root->nlink = 2;
	root->parent = CSV_ROOT_INO;
}

static void names_free(struct model *m)
{
	for (uint32_t i = 0; i < m->nr_inodes; i++)
		free(m->inodes[i].target);
	m->nr_inodes = m->nr_entries = m->nr_xattrs = 0;
	memset(m->slots, 0, sizeof(m->slots));
	memset(m->limits, 0, sizeof(m->limits));
	memset(m->generations, 0, sizeof(m->generations));
}

static uint64_t step_add(struct model *m, const struct step *s)
{
	if (m->nr_steps + 1 >= m->max_steps) {
		m->max_steps = m->max_steps * 2 + 256;
		m->steps = reallocarray(m->steps, m->max_steps, sizeof(*m->steps));
		m->digests = reallocarray(m->digests, m->max_steps, sizeof(*m->digests));
		m->slot_digests = reallocarray(m->slot_digests, m->max_steps,
			sizeof(*m->slot_digests));
		CHECK(m->steps && m->digests && m->slot_digests);
	}
	uint64_t k = m->nr_steps++;
	m->steps[k] = *s;
	m->digests[k] = m->slot_digests[k] = 0;
	return k;
}

static void note_digest(struct model *m, uint64_t k)
{
	m->digests[k] = names_digest(m);
	m->slot_digests[k] = slots_digest(m);
}

void model_init(struct model *m)
{
	static const struct step nothing;

	memset(m, 0, sizeof(*m));
	names_init(m);
	note_digest(m, step_add(m, &nothing));
}

void model_free(struct model *m)
{
	names_free(m);
	for (uint64_t k = 0; k < m->nr_steps; k++) {
		free(m->steps[k].name);
		free(m->steps[k].new_name);
	}
	free(m->inodes);
	free(m->entries);
	free(m->xattrs);
	free(m->steps);
	free(m->digests);
	free(m->slot_digests);
	for (uint32_t i = 0; i < m->nr_files; i++)
		free(m->files[i].hist);
	free(m->files);
}

uint64_t model_step(struct model *m, const struct step *s, int *ret_err)
{
	uint64_t k = step_add(m, s);

	*ret_err = model_try(m, s);
	if (*ret_err == 0)
		apply(m, s);
	note_digest(m, k);
	return k;
}

uint64_t model_mark(struct model *m)
{
	struct step s = { .gone = true };

	return step_add(m, &s);
}

void model_takeover(struct model *m, uint64_t log_seq)
{
	names_free(m);
	names_init(m);
	for (uint64_t k = 1; k < m->nr_steps; k++) {
		struct step *s = &m->steps[k];

		if (!s->gone && s->log_seq > log_seq) {
			s->gone = true;
			m->digests[k] = 0;
		}
		if (!s->gone)
			apply(m, s);
	}
}

void model_at(const struct model *m, uint64_t k, struct model *ret)
{
	memset(ret, 0, sizeof(*ret));
	names_init(ret);
	for (uint64_t i = 1; i <= k && i < m->nr_steps; i++)
		if (!m->steps[i].gone)
			apply(ret, &m->steps[i]);
}

/* ---- bytes ---- */

struct model_file *model_file(struct model *m, uint64_t ino)
{
	for (uint32_t i = 0; i < m->nr_files; i++)
		if (m->files[i].ino == ino)
			return &m->files[i];
	m->files = grown(m->files, m->nr_files, &m->max_files, sizeof(*m->files));
	m->files[m->nr_files] = (struct model_file){ .ino = ino };
	return &m->files[m->nr_files++];
}

uint32_t model_hist(struct model_file *f, const struct hist *h)
{
	f->hist = grown(f->hist, f->nr_hist, &f->max_hist, sizeof(*f->hist));
	f->hist[f->nr_hist] = *h;
	return f->nr_hist++;
}

static int by_order(const void *a, const void *b)
{
	uint64_t x = ((const struct hist *)a)->order, y = ((const struct hist *)b)->order;

	return x < y ? -1 : x > y;
}

void model_sort(struct model *m)
{
	for (uint32_t i = 0; i < m->nr_files; i++)
		qsort(m->files[i].hist, m->files[i].nr_hist, sizeof(struct hist), by_order);
}

void pattern_fill(uint64_t ino, uint64_t sector, uint32_t version, uint64_t out[64])
{
	uint64_t x = (ino << 40 ^ sector << 20 ^ version) * 0x9e3779b97f4a7c15 | 1;

	if (version == 0) {
		memset(out, 0, 512);
		return;
	}
	out[0] = 0x7061747465726e00 | (version & 0xff);
	out[1] = ino << 32 | sector;
	for (unsigned i = 2; i < 64; i++)
		out[i] = x + i * 0x94d049bb133111eb;
}

/* What a sector may hold: versions of a file, each with how many of its bytes are left before
 * zeroes. */
#define MAX_MAY 24u
struct may {
	uint64_t ino[MAX_MAY];
	uint32_t version[MAX_MAY], keep[MAX_MAY];
	uint32_t nr;
	uint64_t closed_ev; /* what began later is not to be seen; 0 = no matter */
};

static void may_set(struct may *m, uint64_t ino, uint32_t version)
{
	m->ino[0] = ino;
	m->version[0] = version;
	m->keep[0] = 512;
	m->nr = 1;
}

static void may_add(struct may *m, uint64_t ino, uint32_t version, uint32_t keep)
{
	for (uint32_t i = 0; i < m->nr; i++)
		if (m->version[i] == version && m->keep[i] == keep &&
			(m->ino[i] == ino || version == 0))
			return;
	CHECK(m->nr < MAX_MAY);
	m->ino[m->nr] = ino;
	m->version[m->nr] = version;
	m->keep[m->nr++] = keep;
}

static void may_write(struct may *m, uint64_t ino, const struct hist *h, const struct look *look)
{
	bool there = h->ack_nr <= look->ack_nr && h->ack_ev <= look->cut;

	if (h->order <= look->k && (h->inlined || h->committed))
		there = true;
	if (there)
		may_set(m, ino, h->version);
	else if (h->begun_ev <= look->cut)
		may_add(m, ino, h->version, 512);
}

static void may_punch(struct may *m, const struct hist *h, const struct look *look)
{
	if (h->order <= look->k) {
		may_set(m, 0, 0);
		return;
	}
	/* A part of its transactions may be done. One that began later has not happened, while others
	 * that a takeover has put behind it may have begun. */
	if (h->begun_ev > look->cut)
		return;
	may_add(m, 0, 0, 512);
	m->closed_ev = MAX(1, h->ack_ev);
}

static void may_cut(struct may *m, const struct hist *h, uint32_t keep, const struct look *look)
{
	uint32_t nr = m->nr;

	if (h->order <= look->k) {
		for (uint32_t i = 0; i < m->nr; i++)
			m->keep[i] = MIN(m->keep[i], keep);
		if (keep == 0)
			may_set(m, 0, 0);
	} else if (h->begun_ev <= look->cut) {
		for (uint32_t i = 0; i < nr; i++)
			may_add(m, m->ino[i], keep ? m->version[i] : 0,
				keep ? MIN(m->keep[i], keep) : 512);
	}
}

static void may_hold(struct model *m, const struct model_file *f, const struct look *look,
	uint64_t before, uint64_t sector, struct may *out);

/* Before it the file was empty. */
static void may_clone(struct model *m, struct may *out, const struct hist *h, uint64_t sector,
	const struct look *look)
{
	if (h->order <= look->k)
		may_hold(m, model_file(m, h->src), look, h->order, sector, out);
}

/* By what happened to f before a step (NEVER: up to now). */
static void may_hold(struct model *m, const struct model_file *f, const struct look *look,
	uint64_t before, uint64_t sector, struct may *out)
{
	may_set(out, 0, 0);
	out->closed_ev = 0;
	for (uint32_t i = 0; i < f->nr_hist; i++) {
		const struct hist *h = &f->hist[i];

		if (sector < h->from || sector >= (uint64_t)h->from + h->nr ||
			(h->order >= before && before != NEVER) ||
			(h->order == NEVER && h->begun_ev > look->cut))
			continue;
		if (out->closed_ev) {
			/* Of a write that was done once more after the space was gone. */
			if (h->kind == HIST_WRITE && h->begun_ev <= MIN(out->closed_ev, look->cut))
				may_add(out, f->ino, h->version, 512);
			continue;
		}
		if (h->kind == HIST_WRITE)
			may_write(out, f->ino, h, look);
		else if (h->kind == HIST_PUNCH)
			may_punch(out, h, look);
		else if (h->kind == HIST_CLONE)
			may_clone(m, out, h, sector, look);
		else
			may_cut(out, h, sector == h->from ? h->keep : 0, look);
	}
	out->closed_ev = 0;
}

static bool may_be(const struct may *m, uint64_t sector, const uint8_t *got,
	uint32_t len)
{
	static const uint8_t zeroes[512];
	uint64_t want[64];

	if (!got)
		got = zeroes;
	for (uint32_t i = 0; i < m->nr; i++) {
		pattern_fill(m->ino[i], sector, m->version[i], want);
		memset((uint8_t *)want + m->keep[i], 0, 512 - m->keep[i]);
		if (memcmp(want, got, len) == 0)
			return true;
	}
	return false;
}

int64_t model_bytes(struct model *m, const struct model_file *f, const struct look *look,
	uint64_t size, const uint8_t *(*get)(void *arg, uint64_t sector), void *arg)
{
	uint64_t nr = DIV_ROUND_UP(size, 512);

	for (uint64_t s = 0; s < nr; s++) {
		struct may may;

		may_hold(m, f, look, NEVER, s, &may);
		if (!may_be(&may, s, get(arg, s), (uint32_t)MIN(512, size - s * 512)))
			return (int64_t)s;
	}
	return -1;
}
