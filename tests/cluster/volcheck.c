/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes a volume over, as a coordinator would, and checks all of it: for tests, on a device that no
 * node uses (or on a copy). Prints each error and a last line of counts. Exit status: 0 clean,
 * 1 errors, 2 could not check.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blockdev/bdev.h"
#include "csvfs/core/fs.h"
#include "journal/journal.h"
#include "util/err.h"
#include "util/loop.h"

struct wait {
	bool done;
	int status;
	uint64_t records;
};

static void recovered(void *arg, int status, uint64_t nr_records, uint64_t nr_blks)
{
	struct wait *w = arg;

	*w = (struct wait){ true, status, nr_records };
}

static void closed(void *arg, int status)
{
	struct wait *w = arg;

	*w = (struct wait){ .done = true, .status = status };
}

static void print_error(void *arg, const char *text)
{
	printf("%s\n", text);
}

static void failed(void *arg, int err)
{
	fprintf(stderr, "volcheck: the log has failed: %s\n", err_str(err));
}

static int recover(struct loop *loop, struct bdev_queue *queue, struct csv_fs *fs, uint64_t *ret_records)
{
	const struct csv_geometry *geom = csv_fs_geometry(fs);
	struct jnl_header header;
	struct wait w = { 0 };
	int err = jnl_read_header(queue, geom->journal_blk, geom->journal_nr_blks, geom->uuid, &header);

	if (!err)
		err = csv_fs_recover(fs, header.epoch + 1, 1, recovered, &w);
	while (!err && !w.done)
		loop_run_once(loop, true);
	*ret_records = w.records;
	return err ? err : w.status;
}

static int check(struct loop *loop, struct bdev_queue *queue, struct csv_check_report *ret)
{
	struct csv_fs_cfg cfg = { .queue = queue, .failed = failed };
	struct csv_fs *fs = NULL;
	struct wait w = { 0 };
	uint64_t records = 0;
	int err = csv_fs_new(&cfg, &fs);

	if (err)
		return err;
	err = recover(loop, queue, fs, &records);
	if (!err)
		err = csv_check(fs, print_error, NULL, ret);
	if (!err) {
		printf("%llu errors, %llu inodes, %llu directories, %llu extents, %llu blocks used, "
		       "%llu records replayed\n",
			(unsigned long long)ret->errors, (unsigned long long)ret->inodes,
			(unsigned long long)ret->dirs, (unsigned long long)ret->extents,
			(unsigned long long)ret->used_blks, (unsigned long long)records);
		csv_fs_close(fs, closed, &w);
		while (!w.done)
			loop_run_once(loop, true);
		err = w.status;
	}
	csv_fs_free(fs);
	return err;
}

int main(int argc, char **argv)
{
	struct csv_check_report report = { 0 };
	struct bdev_queue *queue = NULL;
	struct bdev *bdev = NULL;
	struct loop *loop = NULL;
	char *why = NULL;

	if (argc != 2) {
		fputs("usage: volcheck DEVICE\n", stderr);
		return 2;
	}
	int err = loop_new(&loop);
	if (!err)
		err = bdev_open(argv[1], NULL, &bdev, &why);
	if (!err)
		err = bdev_queue_open(bdev, loop, &queue);
	if (!err)
		err = check(loop, queue, &report);
	if (err)
		fprintf(stderr, "volcheck: %s: %s\n", argv[1], why ? why : err_str(err));
	free(why);
	bdev_queue_close(queue);
	bdev_close(bdev);
	loop_free(loop);
	return err ? 2 : report.errors != 0;
}
