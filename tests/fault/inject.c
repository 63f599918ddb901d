/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linked into fault-mount, which is mount.csvfs with the linker's --wrap: the device gets the fault
 * filter, and our own allocations (not those of libraries) can fail.
 *
 * CSVFS_FAULT=WHAT:NTH[:sticky]   WHAT is read, write, flush or alloc
 * CSVFS_FAULT_FIRED=FILE          a line with how often it has fired is added at the end of each of
 *                                 the two processes: who mounts, and the daemon
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blockdev/bdev.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
int __real_bdev_open(const char *uri, const struct bdev_opts *opts, struct bdev **ret, char **why);
void __real_bdev_close(struct bdev *bdev);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_bdev_open(const char *uri, const struct bdev_opts *opts, struct bdev **ret, char **why);
void __wrap_bdev_close(struct bdev *bdev);

static struct bdev *filter;
static atomic_ullong allocs, fired;
static unsigned long long alloc_nth;
static bool alloc_sticky;

/* "write:7:sticky" */
static bool fault_wanted(char what[16], unsigned long long *nth, bool *sticky)
{
	const char *text = getenv("CSVFS_FAULT");
	char more[16] = "";

	if (!text || sscanf(text, "%15[a-z]:%llu:%15s", what, nth, more) < 2)
		return false;
	*sticky = !strcmp(more, "sticky");
	return true;
}

static void __attribute__((constructor)) setup(void)
{
	char what[16];
	unsigned long long nth;
	bool sticky;

	if (fault_wanted(what, &nth, &sticky) && !strcmp(what, "alloc")) {
		alloc_sticky = sticky;
		alloc_nth = nth;
	}
}

static void report(void)
{
	const char *path = getenv("CSVFS_FAULT_FIRED");
	char text[32];
	int fd = path ? open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0644) : -1;

	if (fd < 0)
		return;
	int len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)fired);
	if (write(fd, text, (size_t)len) != len)
		perror(path);
	close(fd);
}

static void __attribute__((destructor)) at_end(void)
{
	report();
}

static bool alloc_fails(void)
{
	if (!alloc_nth)
		return false;
	unsigned long long n = atomic_fetch_add(&allocs, 1) + 1;
	if (n != alloc_nth && !(alloc_sticky && n > alloc_nth))
		return false;
	atomic_fetch_add(&fired, 1);
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return alloc_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return alloc_fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, n);
}

char *__wrap_strdup(const char *s)
{
	return alloc_fails() ? NULL : __real_strdup(s);
}

/* The first opening only reads the superblock; the second one is the mount's. */
int __wrap_bdev_open(const char *uri, const struct bdev_opts *opts, struct bdev **ret, char **why)
{
	static const char *const names[] = { "read", "write", "flush" };
	static const enum bdev_op ops[] = { BDEV_READ, BDEV_WRITE, BDEV_FLUSH };
	static int opened;
	struct bdev_fault_rule rule = { .err = -EIO };
	unsigned long long nth;
	char what[16];
	int err = __real_bdev_open(uri, opts, ret, why);

	if (err || ++opened != 2 || !fault_wanted(what, &nth, &rule.sticky))
		return err;
	for (int i = 0; i < 3; i++)
		if (!strcmp(what, names[i]))
			rule.op_mask = 1u << ops[i];
	if (!rule.op_mask)
		return 0;
	rule.nth = nth;
	err = bdev_fault_new(*ret, &rule, &filter);
	if (err)
		return err;
	*ret = filter;
	return 0;
}

void __wrap_bdev_close(struct bdev *bdev)
{
	if (bdev && bdev == filter) {
		atomic_fetch_add(&fired, bdev_fault_fired(bdev));
		filter = NULL;
	}
	__real_bdev_close(bdev);
}
