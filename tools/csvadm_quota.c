/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm quota: limits of directories, by the ioctls of csvfs/fuse/ioctl.h and of Linux. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "csvfs/fuse/ioctl.h"
#include "tools/csvadm.h"

#define BLK 4096u

static int dir_failed(const char *path, int err)
{
	if (err == ENOTTY || err == ENOSYS)
		return adm_fail(ADM_NO_VOLUME, "%s: not on a csvfs mount; give a directory on one", path);
	if (err == EPERM || err == EACCES)
		return adm_fail(ADM_DENIED, "%s: only root may see and set limits; use sudo", path);
	if (err == EDQUOT)
		return adm_fail(ADM_FAILED, "%s: its project has no room for what is in it; raise that "
					    "project's limit, or give another --project", path);
	return adm_fail(ADM_FAILED, "%s: %s", path, strerror(err));
}

static int open_dir(const char *path, int *ret_fd)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return dir_failed(path, errno);
	*ret_fd = fd;
	return ADM_OK;
}

/* The project of the directory itself, or the one that p names. An exit code. */
static int ask(const struct adm *adm, int fd, uint32_t cmd, struct csv_ioc_project *p)
{
	p->cmd = cmd;
	return ioctl(fd, CSV_IOC_PROJECT, p) ? dir_failed(adm->file, errno) : ADM_OK;
}

/* ---- what there is ---- */

static const char *size_text(uint64_t blks, char *buf, size_t size)
{
	static const char units[] = "KMGTP";
	double n = (double)blks * 4;
	unsigned u = 0;

	while (n >= 1024 && u + 1 < sizeof(units) - 1) {
		n /= 1024;
		u++;
	}
	snprintf(buf, size, "%.*f %ciB", n < 10 && u ? 2 : n < 100 && u ? 1 : 0, n, units[u]);
	return buf;
}

static void show(const struct adm *adm, const struct csv_ioc_project *p)
{
	char used[32], limit[32] = "none", files[32] = "none";

	if (adm->json) {
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "project", json_object_new_uint64(p->projid));
		json_object_object_add(o, "used", json_object_new_uint64(p->blks * BLK));
		json_object_object_add(o, "limit", json_object_new_uint64(p->limit_blks * BLK));
		json_object_object_add(o, "files", json_object_new_uint64(p->inodes));
		json_object_object_add(o, "files_limit", json_object_new_uint64(p->limit_inodes));
		adm_print_json(o);
		json_object_put(o);
		return;
	}
	if (p->limit_blks)
		size_text(p->limit_blks, limit, sizeof(limit));
	if (p->limit_inodes)
		snprintf(files, sizeof(files), "%llu", (unsigned long long)p->limit_inodes);
	printf("%-10u %12s %12s %10llu %11s\n", p->projid, size_text(p->blks, used, sizeof(used)), limit,
		(unsigned long long)p->inodes, files);
}

static void heading(const struct adm *adm)
{
	if (!adm->json)
		printf("%-10s %12s %12s %10s %11s\n", "PROJECT", "USED", "LIMIT", "FILES", "FILES LIMIT");
}

static int no_project(const struct adm *adm)
{
	return adm_fail(ADM_FAILED, "%s: no project; give it a limit with csvadm quota set", adm->file);
}

int adm_quota_show(const struct adm *adm)
{
	struct csv_ioc_project p = { 0 };
	int fd = -1, code = open_dir(adm->file, &fd);

	if (code)
		return code;
	code = ask(adm, fd, CSV_IOC_PROJECT_GET, &p);
	close(fd);
	if (!code && !p.projid)
		return no_project(adm);
	if (!code) {
		heading(adm);
		show(adm, &p);
	}
	return code;
}

int adm_quota_list(const struct adm *adm)
{
	struct csv_ioc_project p = { .cmd = CSV_IOC_PROJECT_NEXT };
	int fd = -1, code = open_dir(adm->file, &fd);

	if (code)
		return code;
	heading(adm);
	while (ioctl(fd, CSV_IOC_PROJECT, &p) == 0) {
		show(adm, &p);
		p.cmd = CSV_IOC_PROJECT_NEXT;
	}
	if (errno != ENOENT)
		code = dir_failed(adm->file, errno);
	close(fd);
	return code;
}

/* ---- set ---- */

/* The first number that no project has. */
static int free_project(const struct adm *adm, int fd, uint32_t *ret)
{
	struct csv_ioc_project p = { .cmd = CSV_IOC_PROJECT_NEXT };
	uint32_t want = 1;

	while (ioctl(fd, CSV_IOC_PROJECT, &p) == 0 && p.projid == want) {
		want++;
		p.cmd = CSV_IOC_PROJECT_NEXT;
	}
	if (errno && errno != ENOENT && p.projid + 1 == want && want > 1 && errno != ENOTTY)
		return dir_failed(adm->file, errno);
	*ret = want;
	return ADM_OK;
}

/* One file or directory. */
static int tag(const char *path, bool dir, uint32_t projid)
{
	struct fsxattr x;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (dir ? O_DIRECTORY : 0));
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : errno; /* removed meanwhile */
	if (ioctl(fd, FS_IOC_FSGETXATTR, &x))
		err = errno;
	if (!err && (x.fsx_projid != projid ||
			    !(x.fsx_xflags & FS_XFLAG_PROJINHERIT) != !(dir && projid))) {
		x.fsx_projid = projid;
		x.fsx_xflags &= ~(unsigned)FS_XFLAG_PROJINHERIT;
		if (dir && projid)
			x.fsx_xflags |= FS_XFLAG_PROJINHERIT;
		if (ioctl(fd, FS_IOC_FSSETXATTR, &x))
			err = errno;
	}
	close(fd);
	return err;
}

/* Tells how far it is, once a second, to who looks on. */
static void progress(uint64_t done, bool last)
{
	static time_t began, said;
	time_t now = time(NULL);

	if (!began)
		began = said = now;
	if (!isatty(STDERR_FILENO) || (last ? said == began : now == said))
		return;
	said = now;
	fprintf(stderr, "\r%llu files and directories%s", (unsigned long long)done, last ? "\n" : "");
}

/* The whole tree: directories before what is in them, so that nothing new is missed. */
static int tag_tree(const struct adm *adm, uint32_t projid)
{
	char *paths[] = { (char *)adm->file, NULL };
	FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	uint64_t done = 0;
	int code = fts ? ADM_OK : dir_failed(adm->file, errno);
	FTSENT *e;

	while (!code && (e = fts_read(fts))) {
		int err = 0;
		if (e->fts_info == FTS_D || e->fts_info == FTS_F)
			err = tag(e->fts_path, e->fts_info == FTS_D, projid);
		else if (e->fts_info == FTS_DNR || e->fts_info == FTS_ERR)
			err = e->fts_errno;
		if (err)
			code = dir_failed(e->fts_path, err);
		progress(++done, false);
	}
	if (fts) {
		progress(done, true);
		fts_close(fts);
	}
	return code;
}

int adm_quota_set(const struct adm *adm)
{
	struct csv_ioc_project p = { 0 }, old;
	uint32_t projid = adm->project;
	int fd = -1, code;

	if (!adm->limit_given && !adm->files_given)
		return adm_fail(ADM_USAGE, "give --limit=SIZE, --files=N or both, such as "
					   "csvadm quota set %s --limit=100G", adm->file);
	code = open_dir(adm->file, &fd);
	if (code)
		return code;
	code = ask(adm, fd, CSV_IOC_PROJECT_GET, &p);
	if (!code && !projid && p.projid && p.inherits)
		projid = p.projid;
	else if (!code && !projid)
		code = free_project(adm, fd, &projid);
	old = (struct csv_ioc_project){ .projid = projid };
	if (!code)
		code = ask(adm, fd, CSV_IOC_PROJECT_GET, &old);
	if (!code)
		code = tag_tree(adm, projid);
	p = (struct csv_ioc_project){ .projid = projid,
		.limit_blks = adm->limit_given ? (adm->limit_bytes + BLK - 1) / BLK : old.limit_blks,
		.limit_inodes = adm->files_given ? adm->limit_files : old.limit_inodes };
	if (!code)
		code = ask(adm, fd, CSV_IOC_PROJECT_LIMIT, &p);
	p = (struct csv_ioc_project){ .projid = projid };
	if (!code)
		code = ask(adm, fd, CSV_IOC_PROJECT_GET, &p);
	close(fd);
	if (!code) {
		heading(adm);
		show(adm, &p);
	}
	return code;
}

int adm_quota_clear(const struct adm *adm)
{
	struct csv_ioc_project p = { 0 };
	int fd = -1, code = open_dir(adm->file, &fd);
	uint32_t projid;

	if (code)
		return code;
	code = ask(adm, fd, CSV_IOC_PROJECT_GET, &p);
	projid = p.projid;
	if (!code && !projid) {
		close(fd);
		return no_project(adm);
	}
	/* The limit first: it is what was asked for, and what is left of the project has none. */
	p = (struct csv_ioc_project){ .projid = projid };
	if (!code)
		code = ask(adm, fd, CSV_IOC_PROJECT_LIMIT, &p);
	close(fd);
	return code ? code : tag_tree(adm, 0);
}
