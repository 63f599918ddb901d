/* SPDX-License-Identifier: GPL-2.0-or-later */
/* csvadm image: clones and maps of files on a mount, by the ioctls of csvfs/fuse/ioctl.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blockdev/image.h"
#include "csvfs/fuse/ioctl.h"
#include "tools/csvadm.h"

#define BLK 4096u

enum { HOLE, UNWRITTEN, WRITTEN, SHARED, NR_STATES };
static const char *const state_names[NR_STATES] = { "hole", "unwritten", "written", "shared" };

static int file_failed(const char *path, int err)
{
	int code = err == EACCES || err == EPERM ? ADM_DENIED : ADM_FAILED;

	if (err == ENOTTY || err == ENOSYS)
		return adm_fail(ADM_NO_VOLUME, "%s: not on a csvfs mount", path);
	return adm_fail(code, "%s: %s", path, strerror(err));
}

/* Opens a regular file. An exit code. */
static int open_file(const char *path, int *ret_fd, struct stat *ret_st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return file_failed(path, errno);
	if (fstat(fd, ret_st) || !S_ISREG(ret_st->st_mode)) {
		close(fd);
		return adm_fail(ADM_FAILED, "%s: not a regular file", path);
	}
	*ret_fd = fd;
	return ADM_OK;
}

/* ---- clone ---- */

static int clone_failed(const struct adm *adm, int err)
{
	if (err == EPERM)
		return adm_fail(ADM_DENIED, "only root may clone; cp --reflink=auto is for everybody");
	if (err == EOPNOTSUPP)
		return adm_fail(ADM_FAILED,
			"%s: 32 layers of clones lie below it already; copy it once with "
			"cp --reflink=never, and clone the copy",
			adm->file);
	return file_failed(adm->new_file, err);
}

int adm_image_clone(const struct adm *adm)
{
	struct stat src_st, dst_st;
	int src, dst, code = open_file(adm->file, &src, &src_st);

	if (code)
		return code;
	dst = open(adm->new_file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, src_st.st_mode & 0777);
	if (dst < 0) {
		close(src);
		return file_failed(adm->new_file, errno);
	}
	if (fstat(dst, &dst_st) || dst_st.st_dev != src_st.st_dev) {
		code = adm_fail(ADM_FAILED, "%s: not on the volume of %s; copy it with cp",
			adm->new_file, adm->file);
	} else {
		struct csv_ioc_clone arg = { src_st.st_ino };
		if (ioctl(dst, CSV_IOC_CLONE, &arg))
			code = clone_failed(adm, errno);
	}
	if (code)
		unlink(adm->new_file);
	close(src);
	close(dst);
	if (code || !adm->json)
		return code;
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "file", json_object_new_string(adm->file));
	json_object_object_add(o, "clone", json_object_new_string(adm->new_file));
	json_object_object_add(o, "size", json_object_new_int64(src_st.st_size));
	adm_print_json(o);
	json_object_put(o);
	return ADM_OK;
}

/* ---- info, map ---- */

struct extent {
	uint64_t off, len, phys; /* bytes */
	unsigned state;
};

/* Calls fn for each extent up to the end of the file. An exit code. */
static int walk(const struct adm *adm, void (*fn)(void *arg, const struct extent *e), void *arg,
	uint64_t *ret_size, bool *ret_inline)
{
	struct csv_ioc_map map = { 0 };
	uint64_t pos = 0, end;
	struct stat st;
	int fd = -1, code = open_file(adm->file, &fd, &st);

	if (code)
		return code;
	*ret_size = (uint64_t)st.st_size;
	end = ((uint64_t)st.st_size + BLK - 1) / BLK;
	do {
		map.blk = pos;
		map.nr = end - pos;
		if (ioctl(fd, CSV_IOC_MAP, &map)) {
			code = file_failed(adm->file, errno);
			break;
		}
		*ret_inline = map.is_inline;
		for (uint32_t i = 0; i < map.nr_extents && i < CSV_IOC_MAP_EXTENTS; i++) {
			struct extent e = { map.extents[i].blk * BLK, map.extents[i].nr * BLK,
				map.extents[i].phys * BLK, (unsigned)map.extents[i].state };
			pos = map.extents[i].blk + map.extents[i].nr;
			if (e.state < NR_STATES && !map.is_inline)
				fn(arg, &e);
		}
	} while (pos < end && map.nr_extents && !map.is_inline);
	close(fd);
	return code;
}

struct sums {
	uint64_t bytes[NR_STATES], pieces;
};

static void add_extent(void *arg, const struct extent *e)
{
	struct sums *s = arg;

	s->bytes[e->state] += e->len;
	s->pieces += e->state != HOLE;
}

static void add_image(struct json_object *o, const struct image_info *i)
{
	json_object_object_add(o, "format", json_object_new_string(image_names[i->format]));
	json_object_object_add(o, "disk_bytes", json_object_new_uint64(i->size_bytes));
	json_object_object_add(o, "sector_bytes", json_object_new_uint64(i->sector_bytes));
	if (i->format == IMAGE_RAW)
		return;
	json_object_object_add(o, "fixed", json_object_new_boolean(i->fixed));
	if (i->block_bytes) {
		json_object_object_add(o, "block_bytes", json_object_new_uint64(i->block_bytes));
		json_object_object_add(o, "blocks", json_object_new_uint64(i->nr_blocks));
		json_object_object_add(o, "blocks_allocated", json_object_new_uint64(i->nr_allocated));
	}
	if (i->format == IMAGE_VHDX)
		json_object_object_add(o, "log_to_replay", json_object_new_boolean(i->needs_replay));
}

static void print_image(const struct image_info *i)
{
	if (i->format == IMAGE_RAW) {
		printf("format     raw\n");
		return;
	}
	printf("format     %s, %s\n", image_names[i->format], i->fixed ? "fixed" : "dynamic");
	printf("disk       %llu bytes, sectors of %u\n", (unsigned long long)i->size_bytes,
		i->sector_bytes);
	if (i->block_bytes)
		printf("blocks     %llu of %u KiB, %llu allocated\n", (unsigned long long)i->nr_blocks,
			i->block_bytes >> 10, (unsigned long long)i->nr_allocated);
	if (i->needs_replay)
		printf("It was not closed cleanly; who opens it for writing replays its log.\n");
}

/* False: the file is on no csvfs mount, and its image is all that is to be said. */
static bool on_volume(const char *path)
{
	struct csv_ioc_map map = { .nr = 1 };
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool on = fd < 0 || !ioctl(fd, CSV_IOC_MAP, &map) || (errno != ENOTTY && errno != ENOSYS);

	if (fd >= 0)
		close(fd);
	return on;
}

static int image_info_only(const struct adm *adm, const struct image_info *image)
{
	if (adm->json) {
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "file", json_object_new_string(adm->file));
		add_image(o, image);
		adm_print_json(o);
		json_object_put(o);
	} else {
		print_image(image);
	}
	return ADM_OK;
}

int adm_image_info(const struct adm *adm)
{
	struct image_info image = { .format = IMAGE_RAW };
	struct sums s = { { 0 } };
	bool is_inline = false;
	uint64_t size;
	struct stat st;
	int fd = -1, code = open_file(adm->file, &fd, &st);

	if (code)
		return code;
	close(fd);
	if (st.st_size >= 512)
		code = adm_image_describe(adm->file, &image);
	if (!code && !on_volume(adm->file))
		return image_info_only(adm, &image);
	if (!code)
		code = walk(adm, add_extent, &s, &size, &is_inline);
	if (code)
		return code;
	if (adm->json) {
		struct json_object *o = json_object_new_object();
		add_image(o, &image);
		json_object_object_add(o, "file", json_object_new_string(adm->file));
		json_object_object_add(o, "size", json_object_new_uint64(size));
		json_object_object_add(o, "written", json_object_new_uint64(s.bytes[WRITTEN]));
		json_object_object_add(o, "shared", json_object_new_uint64(s.bytes[SHARED]));
		json_object_object_add(o, "unwritten", json_object_new_uint64(s.bytes[UNWRITTEN]));
		json_object_object_add(o, "hole", json_object_new_uint64(s.bytes[HOLE]));
		json_object_object_add(o, "extents", json_object_new_uint64(s.pieces));
		json_object_object_add(o, "inline", json_object_new_boolean(is_inline));
		adm_print_json(o);
		json_object_put(o);
		return ADM_OK;
	}
	print_image(&image);
	printf("size       %llu bytes\n", (unsigned long long)size);
	for (unsigned i = NR_STATES; i-- > 0;)
		printf("%-10s %.1f MiB\n", state_names[i], (double)s.bytes[i] / (1 << 20));
	if (is_inline)
		printf("The content lies in the inode.\n");
	else
		printf("extents    %llu\n", (unsigned long long)s.pieces);
	return ADM_OK;
}

struct lines {
	struct json_object *list; /* NULL: print */
};

static void show_extent(void *arg, const struct extent *e)
{
	struct lines *l = arg;

	if (!l->list) {
		printf("%16llu %16llu ", (unsigned long long)e->off, (unsigned long long)e->len);
		if (e->state == HOLE)
			printf("%16s", "-");
		else
			printf("%16llu", (unsigned long long)e->phys);
		printf("  %s\n", state_names[e->state]);
		return;
	}
	struct json_object *o = json_object_new_object();
	json_object_object_add(o, "offset", json_object_new_uint64(e->off));
	json_object_object_add(o, "length", json_object_new_uint64(e->len));
	if (e->state != HOLE)
		json_object_object_add(o, "device_offset", json_object_new_uint64(e->phys));
	json_object_object_add(o, "state", json_object_new_string(state_names[e->state]));
	json_object_array_add(l->list, o);
}

int adm_image_map(const struct adm *adm)
{
	struct lines l = { adm->json ? json_object_new_array() : NULL };
	bool is_inline = false;
	uint64_t size;

	if (!adm->json)
		printf("%16s %16s %16s  %s\n", "OFFSET", "LENGTH", "ON DEVICE", "STATE");
	int code = walk(adm, show_extent, &l, &size, &is_inline);
	if (!code && is_inline && !adm->json)
		printf("%16d %16llu %16s  inline\n", 0, (unsigned long long)size, "-");
	if (!code && adm->json) {
		struct json_object *o = json_object_new_object();
		json_object_object_add(o, "file", json_object_new_string(adm->file));
		json_object_object_add(o, "size", json_object_new_uint64(size));
		json_object_object_add(o, "inline", json_object_new_boolean(is_inline));
		json_object_object_add(o, "extents", json_object_get(l.list));
		adm_print_json(o);
		json_object_put(o);
	}
	json_object_put(l.list);
	return code;
}
