/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What metadata costs on a volume with many files: the engine alone, without nodes and messages. For
 * bench/scale. Prints one JSON object a measurement: files on the volume, what, how many, microseconds
 * each, and runs, blocks read and blocks logged for each.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blockdev/bdev.h"
#include "csvfs/core/format.h"
#include "csvfs/core/fs.h"
#include "journal/journal.h"
#include "util/checked.h"
#include "util/err.h"
#include "util/loop.h"

#define DEPTH 64u    /* operations under way */
#define PER_TXN 32u  /* names in a transaction while a volume is filled */
#define PER_DIR 1000000u
#define MAX_DIRS 64u
#define SAMPLES 5000u
#define PART 250u /* names of a listing asked for at once, about as many as the kernel asks for */

typedef unsigned long long ull;

static const char usage[] =
	"Usage: scale fill DEVICE FILES   format, make empty files, a million in a directory at most\n"
	"       scale use DEVICE FILES    take over, look up, list, make and remove some of them\n"
	"       scale run COMMAND...      tell its time and memory\n";

struct vol {
	struct loop *loop;
	struct bdev *bdev;
	struct bdev_queue *queue;
	struct csv_fs *fs;
	uint32_t files;
	uint64_t dirs[MAX_DIRS];
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("scale: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void must(int err, const char *what)
{
	if (err)
		fail("%s: %s", what, err_str(err));
}

/* ---- what it is measured by */

struct mark {
	uint64_t ns, read_blks, log_blks, runs;
};

static uint64_t nr_runs;

static struct mark mark(struct vol *v)
{
	struct jnl_stats log = { 0 };
	struct bdev_counters c;

	bdev_counters(v->bdev, &c);
	if (v->fs)
		jnl_stats(csv_fs_journal(v->fs), &log);
	return (struct mark){ clock_mono_ns(), c.bytes[BDEV_READ] / CSV_BLOCK_BYTES,
		log.blocks + log.records, nr_runs };
}

/* VmRSS, VmHWM: KiB */
static long memory(const char *key)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			kib = strtol(line + strlen(key) + 1, NULL, 10);
	if (f)
		fclose(f);
	return kib;
}

static void tell(struct vol *v, const char *what, uint64_t nr, const struct mark *from)
{
	struct mark to = mark(v);
	double n = (double)nr;

	if (to.log_blks < from->log_blks) /* of an engine that is gone */
		to.log_blks = from->log_blks;
	printf("{\"files\": %u, \"what\": \"%s\", \"nr\": %llu, \"us\": %.2f, \"runs\": %.3f, "
	       "\"reads\": %.3f, \"log\": %.3f, \"rss_kib\": %ld, \"peak_kib\": %ld}\n",
		v->files, what, (ull)nr, (double)(to.ns - from->ns) / 1e3 / n,
		(double)(to.runs - from->runs) / n, (double)(to.read_blks - from->read_blks) / n,
		(double)(to.log_blks - from->log_blks) / n, memory("VmRSS"), memory("VmHWM"));
	fflush(stdout);
}

/* ---- the volume */

struct waited {
	int status;
	bool done;
};

static void end_wait(void *arg, int status)
{
	*(struct waited *)arg = (struct waited){ status, true };
}

static void recovered(void *arg, int status, uint64_t records, uint64_t blks)
{
	end_wait(arg, status);
}

static void wait_for(struct vol *v, const struct waited *w, const char *what)
{
	while (!w->done)
		loop_run_once(v->loop, true);
	must(w->status, what);
}

static void device_open(struct vol *v, const char *uri)
{
	char *error = NULL, stack[4096];

	snprintf(stack, sizeof(stack), "stats|%s", uri);
	must(loop_new(&v->loop), "loop");
	if (bdev_open(stack, NULL, &v->bdev, &error))
		fail("%s", error ? error : uri);
	must(bdev_queue_open(v->bdev, v->loop, &v->queue), uri);
}

static void device_close(struct vol *v)
{
	bdev_queue_close(v->queue);
	bdev_close(v->bdev);
	loop_free(v->loop);
}

static void volume_open(struct vol *v)
{
	struct csv_fs_cfg cfg = { .queue = v->queue };
	struct waited w = { 0 };
	struct jnl_header h;

	must(csv_fs_new(&cfg, &v->fs), "open");
	const struct csv_geometry *geom = csv_fs_geometry(v->fs);
	must(jnl_read_header(v->queue, geom->journal_blk, geom->journal_nr_blks, geom->uuid, &h),
		"log");
	must(csv_fs_recover(v->fs, h.epoch + 1, 1, recovered, &w), "recovery");
	wait_for(v, &w, "recovery");
}

static void volume_close(struct vol *v)
{
	struct waited w = { 0 };

	csv_fs_close(v->fs, end_wait, &w);
	wait_for(v, &w, "close");
	csv_fs_free(v->fs);
	v->fs = NULL;
}

/* ---- operations, many under way */

struct work {
	struct vol *vol;
	int (*run)(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino);
	uint32_t next, end; /* operations that have not begun */
	uint32_t left;
};

struct job {
	struct csv_op op;
	struct work *work;
	uint32_t nth;
	uint64_t ino; /* a removal has two steps */
};

static int job_run(struct csv_op *op, struct csv_txn *txn)
{
	struct job *job = container_of(op, struct job, op);

	nr_runs++;
	return job->work->run(txn, job->work, job->nth, &job->ino);
}

static void job_done(struct csv_op *op, int status)
{
	struct job *job = container_of(op, struct job, op);
	struct work *work = job->work;

	must(status, "an operation");
	if (job->ino) { /* once more */
		csv_op_submit(work->vol->fs, op);
		return;
	}
	work->left--;
	if (work->next == work->end)
		return;
	job->nth = work->next++;
	csv_op_submit(work->vol->fs, op);
}

/* Operations [first, first + nr), depth of them at a time. */
static void work_all(struct vol *v, int (*run)(struct csv_txn *, struct work *, uint32_t, uint64_t *),
	uint32_t first, uint32_t nr, uint32_t depth)
{
	struct work work = { v, run, first, first + nr, nr };
	struct job *jobs = calloc(depth, sizeof(*jobs));

	if (!jobs)
		fail("no memory");
	for (uint32_t i = 0; i < depth && work.next < work.end; i++) {
		jobs[i] = (struct job){ .op = { .run = job_run, .done = job_done }, .work = &work,
			.nth = work.next++ };
		csv_op_submit(v->fs, &jobs[i].op);
	}
	while (work.left > 0)
		loop_run_once(v->loop, true);
	free(jobs);
}

static uint32_t name_of(uint32_t file, char *name)
{
	return (uint32_t)sprintf(name, "file-%09u", file);
}

static uint64_t dir_of(const struct vol *v, uint32_t file)
{
	return v->dirs[file / PER_DIR];
}

static int make(struct csv_txn *txn, const struct vol *v, uint32_t file)
{
	struct csv_attr attr, proto = { .mode = S_IFREG | 0644, .ctime_ns = 1, .mtime_ns = 1 };
	char name[32];

	return csv_create(txn, dir_of(v, file), name, name_of(file, name), &proto, NULL, 0, &attr);
}

static int run_fill(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	int err = 0;

	for (uint32_t i = nth * PER_TXN; i < MIN((nth + 1) * PER_TXN, work->vol->files) && !err; i++)
		err = make(txn, work->vol, i);
	return err;
}

static int run_make(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	return make(txn, work->vol, nth);
}

/* Files far apart, each once. */
static uint32_t nth_sample(const struct vol *v, uint32_t nth)
{
	return (uint32_t)((uint64_t)nth * 999983 % v->files);
}

static int run_find(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	uint32_t file = nth_sample(work->vol, nth);
	struct csv_attr attr;
	char name[32];

	return csv_lookup(txn, dir_of(work->vol, file), name, name_of(file, name), &attr);
}

/* As the coordinator does it: the name, then the inode. */
static int run_drop(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	uint32_t file = nth_sample(work->vol, nth);
	struct csv_attr attr;
	char name[32];

	if (*ino) {
		int err = csv_orphan_free(txn, *ino);
		if (!err)
			*ino = 0;
		return err;
	}
	int err = csv_unlink(txn, dir_of(work->vol, file), name, name_of(file, name), false, 2, &attr);
	if (!err)
		*ino = attr.ino;
	return err;
}

static int run_statfs(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	struct csv_statfs st;
	int err = csv_statfs(txn, &st);

	if (!err && st.nr_inodes < work->vol->files)
		return -EIO;
	return err;
}

/* Directories are made in the order of their numbers, and first of all. */
static int run_dir(struct csv_txn *txn, struct work *work, uint32_t nth, uint64_t *ino)
{
	struct csv_attr attr, proto = { .mode = S_IFDIR | 0755, .ctime_ns = 1 };
	char name[32];
	int err = csv_create(txn, CSV_ROOT_INO, name, (uint32_t)sprintf(name, "dir-%02u", nth), &proto,
		NULL, 0, &attr);

	if (err == -EEXIST || !err) {
		work->vol->dirs[nth] = attr.ino;
		err = 0;
	}
	return err;
}

/* ---- listing */

struct listing {
	struct csv_op op;
	uint64_t dir, after, last;
	uint32_t nr;
};

static bool list_one(void *arg, const struct csv_dirent *ent, const struct csv_attr *attr)
{
	struct listing *l = arg;

	if (l->nr == PART)
		return false;
	l->nr++;
	l->last = ent->cookie;
	return true;
}

static int run_list(struct csv_op *op, struct csv_txn *txn)
{
	struct listing *l = container_of(op, struct listing, op);

	nr_runs++;
	l->nr = 0;
	return csv_readdir(txn, l->dir, l->after, true, list_one, l);
}

/* All names of a directory, with attributes, as `ls -l` asks for them. */
static uint64_t list_dir(struct vol *v, uint64_t dir)
{
	struct listing l = { .dir = dir };
	uint64_t nr = 0;

	do {
		l.op = (struct csv_op){ .run = run_list };
		must(csv_op_sync(v->fs, &l.op), "listing");
		l.after = l.last;
		nr += l.nr;
	} while (l.nr > 0);
	return nr;
}

/* ---- commands */

static uint32_t nr_dirs(const struct vol *v)
{
	return v->files / PER_DIR + 1; /* room for those that are made later */
}

static void cmd_fill(struct vol *v)
{
	struct csv_mkfs opts = { .uuid = { 0xc5, 0xca, 0x1e } };
	struct csv_geometry geom;
	struct mark m;

	must(csv_mkfs_plan(&opts, bdev_geom(v->bdev).size_bytes, &geom), "format");
	must(csv_mkfs_write(v->queue, &geom, NULL, NULL), "format");
	volume_open(v);
	work_all(v, run_dir, 0, nr_dirs(v), 1);
	m = mark(v);
	work_all(v, run_fill, 0, DIV_ROUND_UP(v->files, PER_TXN), DEPTH);
	tell(v, "fill", v->files, &m);
	volume_close(v);
}

static void cmd_use(struct vol *v)
{
	uint32_t samples = MIN(SAMPLES, v->files / 2);
	struct mark m = mark(v);

	volume_open(v);
	tell(v, "mount", 1, &m);
	m = mark(v);
	work_all(v, run_statfs, 0, 1, 1);
	tell(v, "statfs", 1, &m);
	work_all(v, run_dir, 0, nr_dirs(v), 1);

	m = mark(v);
	work_all(v, run_find, 0, samples, 1);
	tell(v, "lookup, cold", samples, &m);
	m = mark(v);
	work_all(v, run_find, 0, samples, 1);
	tell(v, "lookup, again", samples, &m);
	m = mark(v);
	work_all(v, run_make, v->files, samples, 1);
	tell(v, "create, one by one", samples, &m);
	m = mark(v);
	work_all(v, run_make, v->files + samples, samples, DEPTH);
	tell(v, "create, 64 at a time", samples, &m);
	m = mark(v);
	work_all(v, run_drop, 0, samples, DEPTH);
	tell(v, "delete, 64 at a time", samples, &m);

	m = mark(v);
	uint64_t nr = 0;
	for (uint32_t i = 0; i < nr_dirs(v); i++)
		nr += list_dir(v, v->dirs[i]);
	if (nr != v->files + samples)
		fail("a listing has %llu names", (ull)nr);
	tell(v, "list, with attributes", nr, &m);

	csv_fs_free(v->fs); /* as if it had died */
	v->fs = NULL;
	m = mark(v);
	volume_open(v);
	tell(v, "takeover", 1, &m);
	volume_close(v);
}

static int cmd_run(char **argv)
{
	uint64_t from = clock_mono_ns();
	struct rusage ru;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		dup2(2, 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &ru) < 0)
		fail("%s: %s", argv[0], strerror(errno));
	printf("{\"seconds\": %.3f, \"cpu_seconds\": %.3f, \"peak_kib\": %ld, \"exit\": %d}\n",
		(double)(clock_mono_ns() - from) / 1e9,
		(double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
		ru.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}

int main(int argc, char **argv)
{
	struct vol v = { 0 };
	bool to_fill;

	if (argc > 2 && !strcmp(argv[1], "run"))
		return cmd_run(argv + 2);
	to_fill = argc == 4 && !strcmp(argv[1], "fill");
	if (argc != 4 || (!to_fill && strcmp(argv[1], "use"))) {
		fputs(usage, stderr);
		return 2;
	}
	v.files = (uint32_t)strtoul(argv[3], NULL, 10);
	if (v.files < 100 || v.files > (MAX_DIRS - 1) * PER_DIR)
		fail("%s: from 100 to %u files", argv[3], (MAX_DIRS - 1) * PER_DIR);
	device_open(&v, argv[2]);
	if (to_fill)
		cmd_fill(&v);
	else
		cmd_use(&v);
	device_close(&v);
	return 0;
}
