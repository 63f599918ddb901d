/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether a volume is what it may be after a crash. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "csvfs/core/core_internal.h"
#include "journal/journal_internal.h"
#include "tests/crash/state_internal.h"
#include "tests/unit/test.h"
#include "util/checked.h"

/* ---- what is on a volume ---- */



static void survey_say(struct survey *v, const struct csv_dirent *ent, const struct csv_attr *a)
{
	if (v->print)
		fprintf(stderr, "    %" PRIu64 "/%.*s: inode %" PRIu64 " mode %o nlink %u size %" PRIu64
				"\n", v->dir, MIN(ent->name_len, 24), ent->name, a->ino, a->mode, a->nlink, a->size);
}

static int survey_file(struct survey *v, const struct csv_attr *a)
{
	struct found *f;
	int err = 0;

	for (uint32_t i = 0; i < v->nr_files; i++)
		if (v->files[i]->ino == a->ino)
			return 0;
	if (v->nr_files == v->max_files) {
		v->max_files = v->max_files * 2 + 16;
		v->files = reallocarray(v->files, v->max_files, sizeof(*v->files));
		CHECK(v->files);
		for (uint32_t i = v->nr_files; i < v->max_files; i++)
			CHECK(v->files[i] = malloc(sizeof(*f)));
	}
	f = v->files[v->nr_files++];
	f->ino = a->ino;
	f->size = a->size;
	f->kind = a->data_kind;
	f->nr_ext = 0;
	f->inline_len = sizeof(f->data);
	if (f->kind == CSV_DATA_INLINE)
		err = csv_inline_get(v->txn, a->ino, f->data, &f->inline_len);
	else if (f->size)
		err = csv_extent_map(v->txn, a->ino, 0, DIV_ROUND_UP(f->size, BLK), f->ext,
			ARRAY_SIZE(f->ext), &f->nr_ext);
	return err;
}

/* Of an inode with several names they count once. */
static int survey_xattrs(struct survey *v, uint64_t ino)
{
	static char list[8192];
	static uint8_t value[65536];
	uint32_t len = sizeof(list), at = 0;

	for (uint32_t i = 0; i < v->nr_attributed; i++)
		if (v->attributed[i] == ino)
			return 0;
	if (v->nr_attributed < ARRAY_SIZE(v->attributed))
		v->attributed[v->nr_attributed++] = ino;
	int err = csv_xattr_list(v->txn, ino, list, &len);
	while (!err && at < len) {
		uint32_t nr = sizeof(value), name_len = (uint32_t)strlen(list + at);

		err = csv_xattr_get(v->txn, ino, list + at, name_len, value, &nr);
		if (!err)
			v->names += digest_xattr(ino, list + at, digest_value(value, nr));
		at += name_len + 1;
	}
	return err;
}

static bool survey_entry(void *arg, const struct csv_dirent *ent, const struct csv_attr *a)
{
	struct survey *v = arg;
	char target[1100];
	uint32_t len = 0;

	if (S_ISLNK(a->mode)) {
		len = sizeof(target);
		v->err = csv_readlink(v->txn, a->ino, target, &len);
		if (v->err)
			return false;
	}
	struct seen s = { .ino = a->ino, .size = a->size, .rdev = a->rdev, .mode = a->mode,
		.nlink = a->nlink, .uid = a->uid, .gid = a->gid, .projid = a->projid,
		.inherit = a->projinherit, .target = target, .target_len = len };
	v->names += digest_entry(v->dir, ent->name, ent->name_len, &s);
	survey_say(v, ent, a);
	if (S_ISDIR(a->mode) && v->nr_dirs < ARRAY_SIZE(v->dirs))
		v->dirs[v->nr_dirs++] = a->ino;
	if (S_ISREG(a->mode) && a->size)
		v->err = survey_file(v, a);
	if (a->has_xattrs && !v->err)
		v->err = survey_xattrs(v, a->ino);
	return v->err == 0;
}

static int survey_slots(struct survey *v)
{
	for (uint32_t node = 1; node <= MODEL_NODES; node++) {
		const struct csv_session *sess;
		int err = csv_txn_read(v->txn, CSV_SESS_BLK + node - 1, CSV_BT_SESSION,
			(const void **)&sess);

		if (err)
			return err;
		v->slots += digest_session(node, le64_get(sess->generation));
		for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
			struct csv_result res;

			err = csv_result_get(v->txn, node, le64_get(sess->generation), slot, &res);

			if (err)
				return err;
			v->slots += digest_slot(node, slot, res.seq);
		}
	}
	return 0;
}

static int survey_run(struct csv_op *op, struct csv_txn *txn)
{
	struct survey *v = container_of(op, struct survey, op);
	struct csv_attr a;
	int err = csv_inode_get(txn, CSV_ROOT_INO, &a);

	if (err)
		return err;
	struct seen root = { .ino = a.ino, .size = a.size, .mode = a.mode, .nlink = a.nlink,
		.projid = a.projid, .inherit = a.projinherit, .target = "" };
	v->txn = txn;
	v->names = digest_entry(0, "/", 1, &root);
	for (uint32_t projid = 1; projid < MODEL_PROJECTS; projid++) {
		struct csv_project p;

		err = csv_project_get(txn, projid, &p);
		if (err)
			return err;
		v->names += digest_limit(projid, p.limit_blks);
	}
	v->slots = 1;
	v->nr_files = v->nr_attributed = 0;
	v->dirs[0] = CSV_ROOT_INO;
	v->nr_dirs = 1;
	for (uint32_t i = 0; i < v->nr_dirs; i++) {
		v->err = 0;
		v->dir = v->dirs[i];
		err = csv_readdir(txn, v->dir, 0, true, survey_entry, v);
		if (err || v->err)
			return err ? err : v->err;
	}
	return survey_slots(v);
}

bool judge_survey(struct explore *x, struct csv_fs *fs)
{
	x->survey.op = (struct csv_op){ .run = survey_run };
	int err = csv_op_sync(fs, &x->survey.op);

	if (err)
		wrong(x, "it cannot be read: %s", err_str(err));
	return !err;
}

void judge_done(struct explore *x)
{
	for (uint32_t i = 0; i < x->survey.max_files; i++)
		free(x->survey.files[i]);
	free(x->survey.files);
}

/* ---- one state ---- */


void wrong(struct explore *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void wrong(struct explore *x, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(x->what, sizeof(x->what), fmt, ap);
	va_end(ap);
	x->st->failed = true;
}

static void check_said(void *arg, const char *text)
{
	struct explore *x = arg;

	if (!x->st->quiet)
		fprintf(stderr, "    check: %s\n", text);
}

struct outcome {
	int status;
};

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	((struct outcome *)arg)->status = status;
}


/* Mounts and replays. NULL: what says why not. */
struct csv_fs *judge_mount(struct explore *x, struct loop *loop, struct bdev_queue *queue)
{
	struct csv_fs_cfg cfg = { .queue = queue, .cache_bytes = 8 << 20 };
	struct outcome out = { 1 };
	struct jnl_header h;
	struct csv_fs *fs;
	int err = csv_fs_new(&cfg, &fs);

	if (err) {
		wrong(x, "it cannot be mounted: %s", err_str(err));
		return NULL;
	}
	const struct csv_geometry *geom = csv_fs_geometry(fs);
	err = jnl_read_header(queue, geom->journal_blk, geom->journal_nr_blks, geom->uuid, &h);
	jnl_test_break(csv_fs_journal(fs), x->st->broken);
	if (!err)
		err = csv_fs_recover(fs, h.epoch + 1, 1, recovered, &out);
	if (!err)
		SPIN_UNTIL(loop, out.status <= 0);
	if (err || out.status) {
		wrong(x, "replay: %s", err_str(err ? err : out.status));
		csv_fs_free(fs);
		return NULL;
	}
	return fs;
}

void judge_unmount(struct csv_fs *fs, struct trial *t)
{
	SPIN_UNTIL(t->loop, chaos_quiet(t->mem));
	csv_fs_free(fs);
	SPIN_UNTIL(t->loop, chaos_quiet(t->mem));
}

struct bytes_of {
	const uint8_t *mem;
	const struct found *f;
	uint32_t at; /* extent */
};

static const uint8_t *sector_bytes(void *arg, uint64_t sector)
{
	struct bytes_of *b = arg;
	const struct found *f = b->f;
	static uint8_t tail[512];
	uint64_t blk = sector * SECTOR / BLK;

	if (f->kind == CSV_DATA_INLINE) {
		uint64_t off = sector * SECTOR;

		if (off >= f->inline_len)
			return NULL;
		memset(tail, 0, sizeof(tail));
		memcpy(tail, f->data + off, MIN(512, f->inline_len - off));
		return tail;
	}
	while (b->at < f->nr_ext && f->ext[b->at].blk + f->ext[b->at].nr <= blk)
		b->at++;
	if (b->at == f->nr_ext || (f->ext[b->at].state != CSV_WRITTEN &&
						       f->ext[b->at].state != CSV_SHARED))
		return NULL;
	return b->mem + (f->ext[b->at].phys + blk - f->ext[b->at].blk) * BLK + sector * SECTOR % BLK;
}

/* What the model knows of a sector, for who looks into a failure. */
static void list_history(const struct model_file *f, uint64_t sector)
{
	static const char *const kinds[] = { "write", "punch", "clone", "cut" };

	for (uint32_t i = 0; i < f->nr_hist; i++) {
		const struct hist *h = &f->hist[i];

		if (h->from <= sector && sector < (uint64_t)h->from + h->nr)
			fprintf(stderr, "    %s [%u, %u) version %u, step %" PRId64 ", begun at %" PRIu64
					", acknowledged as %" PRId64 " at %" PRId64 "%s%s\n",
				kinds[h->kind], h->from, h->from + h->nr, h->version,
				(int64_t)h->order, h->begun_ev, (int64_t)h->ack_nr,
				(int64_t)h->ack_ev, h->inlined ? " inline" : "",
				h->committed ? " committed" : "");
	}
}

static bool bytes_right(struct explore *x, const uint8_t *mem, const struct look *look)
{
	for (uint32_t i = 0; i < x->survey.nr_files; i++) {
		struct found *f = x->survey.files[i];
		struct bytes_of b = { mem, f, 0 };
		int64_t at = model_bytes(&x->sim->model, model_file(&x->sim->model, f->ino), look, f->size,
			sector_bytes, &b);

		if (at < 0)
			continue;
		if (x->st->only) {
			fprintf(stderr, "  step %" PRIu64 ", cut %" PRIu64 ", %" PRIu64
					" acknowledgements:\n", look->k, look->cut, look->ack_nr);
			list_history(model_file(&x->sim->model, f->ino), (uint64_t)at);
		}
		b.at = 0;
		const uint64_t *got = (const uint64_t *)sector_bytes(&b, (uint64_t)at);
		wrong(x, "inode %" PRIu64 " (%" PRIu64 " bytes), sector %" PRId64 " holds %016" PRIx64
			 " %016" PRIx64 " after step %" PRIu64, f->ino, f->size, at, got ? got[0] : 0,
			got ? got[1] : 0, look->k);
		return false;
	}
	return true;
}

/* For who looks into a failure: what was found, and what there was by the slots. */
static void look_back(struct explore *x, uint64_t k)
{
	x->k = k;
	if (!x->st->only || !getenv("CRASH_LIST"))
		return;
	fprintf(stderr, "  it is:\n");
	x->survey.print = true;
}

/* The step that the volume is at; 0 is a step, too. */
static bool find_step(struct explore *x, uint64_t min, uint64_t *ret_k)
{
	const struct model *m = &x->sim->model;
	const struct survey *v = &x->survey;
	uint64_t slots = 0;

	for (uint64_t k = min; k < m->nr_steps; k++) {
		if (m->digests[k] == v->names && m->slot_digests[k] == v->slots) {
			*ret_k = k;
			return true;
		}
	}
	for (uint64_t k = 0; k < m->nr_steps; k++) {
		if (m->slot_digests[k] == v->slots)
			slots = k;
		if (m->digests[k] != v->names || m->slot_digests[k] != v->slots)
			continue;
		wrong(x, "it is at step %" PRIu64 ", step %" PRIu64 " is promised", k, min);
		return false;
	}
	look_back(x, slots);
	wrong(x, "its names and attributes are those of no step; by the slots it is at step %" PRIu64,
		slots);
	return false;
}

/* The newest acknowledgement that counts. */
static uint64_t newest_ack(struct explore *x, uint64_t nr, uint64_t cut)
{
	uint64_t n = MIN(nr, x->sim->nr_acks);

	while (n > 0 && x->sim->acks[n].ev > cut)
		n--;
	return n;
}

static int reap_run(struct csv_op *op, struct csv_txn *txn)
{
	uint64_t ino, left;
	bool more;
	int err = csv_orphan_next(txn, 0, &ino);

	if (err || !ino)
		return err;
	err = csv_extent_punch(txn, ino, 0, UINT64_MAX, &left);
	if (err || left)
		return err;
	err = csv_xattr_clear(txn, ino, &more);
	return err || more ? err : csv_orphan_free(txn, ino);
}

bool judge_check(struct explore *x, struct csv_fs *fs)
{
	struct csv_check_report report;
	int err = csv_check(fs, check_said, x, &report);

	if (err || report.errors)
		wrong(x, "the check has found %" PRIu64 " errors, %s",
			err ? 0 : report.errors, err ? err_str(err) : "see above");
	return !err && !report.errors;
}

/* Orphans are freed (E7), and all is well still. */
static bool reaped(struct explore *x, struct csv_fs *fs)
{
	struct csv_op op = { .run = reap_run };

	for (int i = 0; i < 64; i++)
		CHECK_OK(csv_op_sync(fs, &op));
	x->st->nr_reaped++;
	return judge_check(x, fs);
}

/* Recovers what is on the device; promises: what look counts. */
bool judge_volume(struct explore *x, struct trial *t, struct look *look, bool again)
{
	struct csv_fs *fs = judge_mount(x, t->loop, t->queue);
	uint64_t n = newest_ack(x, look->names_nr, look->cut);
	bool ok = false;

	if (!fs)
		return false;
	look->ack_nr = newest_ack(x, look->ack_nr, look->cut);
	if (judge_check(x, fs) && judge_survey(x, fs))
		ok = find_step(x, x->ack_order[n], &look->k) &&
		     bytes_right(x, mem_image(t->mem)->bytes, look);
	if (x->survey.print)
		judge_survey(x, fs);
	if (ok && again)
		ok = reaped(x, fs);
	judge_unmount(fs, t);
	return ok;
}


bool judge_live(struct sim *sim)
{
	struct model *m = &sim->model;
	struct states st = { .workload = "live" };
	struct explore x = { .st = &st, .sim = sim };
	struct look look = { .k = m->nr_steps - 1, .cut = sim_events(sim), .ack_nr = sim->nr_acks };
	uint64_t k = look.k;

	model_sort(m);
	while (k > 0 && m->digests[k] == 0)
		k--;
	if (judge_survey(&x, sim->fs)) {
		if (x.survey.names != m->digests[k])
			wrong(&x, "names and attributes are not those of the model");
		else if (x.survey.slots != m->slot_digests[k])
			wrong(&x, "the slots are not those of the model");
		else
			bytes_right(&x, mem_image(sim->mem)->bytes, &look);
	}
	judge_done(&x);
	if (st.failed)
		sim_complain(sim, "%s", x.what);
	return !st.failed;
}
