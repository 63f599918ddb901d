/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mkfs.csvfs: makes a volume. */
#include <blkid/blkid.h>
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "blockdev/bdev.h"
#include "csvfs/core/fs.h"
#include "csvfs/volume/key.h"
#include "tools/in_use.h"
#include "tools/mkfs_reserve.h"
#include "tools/tool.h"
#include "util/err.h"

#define PROBE_BYTES (1u << 20)

struct options {
	const char *uri, *label, *key_file, *auth_file, *uuid;
	uint64_t cluster_bytes, journal_bytes;
	bool force, dry_run, json, no_key, quiet;
};

static const char usage[] =
	"Usage: mkfs.csvfs [OPTION]... DEVICE\n"
	"Make a csvfs volume on DEVICE: /dev/..., file:PATH, iscsi://HOST[:PORT]/TARGET/LUN,\n"
	"nbd://HOST[:PORT]/EXPORT. Refuses a device that holds something else or is in use.\n"
	"\n"
	"  -L, --label=LABEL        name of the volume, up to 63 bytes\n"
	"  -U, --uuid=UUID          its UUID; default: a new one\n"
	"  -c, --cluster=SIZE       allocation unit of file data, 4k to 4M; default 64k\n"
	"  -j, --journal=SIZE       size of the log; default 1/64 of the volume, 4M to 128M\n"
	"  -k, --key-file=FILE      the volume key, made if FILE does not exist;\n"
	"                           default /etc/csvfs/UUID.key\n"
	"      --no-key             no key: such a volume can be mounted with -o single only\n"
	"      --auth-file=FILE     user%password of the device, in a file of mode 0600\n"
	"  -f, --force              overwrite what the device holds\n"
	"  -n, --dry-run            say what would be done, write nothing\n"
	"      --json               print the geometry as JSON\n"
	"  -q, --quiet              print nothing but errors\n"
	"  -h, --help               show this text\n"
	"  -V, --version            show the version\n"
	"\n"
	"Exit status: 0 done, 1 failed or refused, 2 wrong usage.\n";

static int die(const char *what, const char *why)
{
	fprintf(stderr, "mkfs.csvfs: %s: %s\n", what, why);
	return 1;
}

/* What blkid knows in the first MiB, e.g. "ext4"; NULL = nothing. */
static char *known_content(struct bdev_queue *queue, uint64_t size_bytes)
{
	uint64_t len = size_bytes < PROBE_BYTES ? size_bytes : PROBE_BYTES;
	char *found = NULL;
	const char *value;
	void *buf = aligned_alloc(4096, PROBE_BYTES);
	int fd = memfd_create("probe", MFD_CLOEXEC);
	blkid_probe pr = blkid_new_probe();

	if (!buf || fd < 0 || !pr || bdev_pread(queue, buf, len, 0) ||
		pwrite(fd, buf, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)size_bytes) ||
		blkid_probe_set_device(pr, fd, 0, 0))
		goto out;
	blkid_probe_enable_superblocks(pr, 1);
	blkid_probe_set_superblocks_flags(pr, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_MAGIC);
	blkid_probe_enable_partitions(pr, 1);
	if (blkid_do_safeprobe(pr) == 1)
		goto out;
	if (!blkid_probe_lookup_value(pr, "TYPE", &value, NULL) ||
		!blkid_probe_lookup_value(pr, "PTTYPE", &value, NULL))
		found = strdup(value);
	else
		found = strdup("something that blkid is not sure of");
out:
	if (pr)
		blkid_free_probe(pr);
	if (fd >= 0)
		close(fd);
	free(buf);
	return found;
}

/* Refuses what is in use, always, and what holds data, unless forced. */
static int check_device(const struct options *o, struct bdev_queue *queue, uint64_t size_bytes)
{
	struct csv_geometry old;
	char why[256];
	int err = csv_super_read(queue, &old);

	if (!err) {
		uint32_t node = in_use_by_node(queue, old.uuid);
		if (node) {
			snprintf(why, sizeof(why), "it is mounted on node %u; unmount it there first",
				node);
			return die(o->uri, why);
		}
		if (!o->force) {
			snprintf(why, sizeof(why),
				"it holds a csvfs volume (label \"%s\"); give --force to overwrite it",
				old.label);
			return die(o->uri, why);
		}
		return 0;
	}
	char *found = known_content(queue, size_bytes);
	if (found && !o->force) {
		snprintf(why, sizeof(why), "it holds %s; give --force to overwrite it", found);
		free(found);
		return die(o->uri, why);
	}
	free(found);
	return 0;
}

/* Hosts that are gone may have left reservations, which would refuse our writes. */
static int check_reservations(const struct options *o, struct bdev_queue *queue)
{
	uint32_t nr = reserve_count(queue);
	char why[160];

	if (nr == 0 || o->force)
		return 0;
	snprintf(why, sizeof(why),
		"%u SCSI reservation keys of other hosts are registered on it; when no host uses it, "
		"give --force to remove them",
		nr);
	return die(o->uri, why);
}

static int volume_key(const struct options *o, const uint8_t uuid[16], uint8_t id[32], char *path,
	size_t room)
{
	uint8_t key[KEY_BYTES];
	char text[37];

	memset(id, 0, 32);
	path[0] = 0;
	if (o->no_key)
		return 0;
	uuid_unparse_lower(uuid, text);
	if (o->key_file)
		snprintf(path, room, "%s", o->key_file);
	else
		snprintf(path, room, "/etc/csvfs/%s.key", text);
	if (o->dry_run)
		return 0;
	int err = key_read(path, key);
	if (err == -ENOENT)
		err = key_create(path, key);
	if (err)
		return die(path, err == -EPERM ? "others may read it; chmod 600 it" : err_str(err));
	key_id(key, id);
	return 0;
}

static void print_geometry(const struct options *o, const struct csv_geometry *g, const char *key)
{
	char uuid[37];

	uuid_unparse_lower(g->uuid, uuid);
	if (o->json) {
		struct json_object *j = json_object_new_object();
		json_object_object_add(j, "device", json_object_new_string(o->uri));
		json_object_object_add(j, "uuid", json_object_new_string(uuid));
		json_object_object_add(j, "label", json_object_new_string(g->label));
		json_object_object_add(j, "size_bytes", json_object_new_uint64(g->nr_blks * 4096));
		json_object_object_add(j, "cluster_bytes",
			json_object_new_uint64(g->cluster_blks * 4096ull));
		json_object_object_add(j, "journal_bytes",
			json_object_new_uint64(g->journal_nr_blks * 4096));
		json_object_object_add(j, "allocation_groups", json_object_new_uint64(g->nr_ags));
		json_object_object_add(j, "key_file", json_object_new_string(key));
		json_object_object_add(j, "written", json_object_new_boolean(!o->dry_run));
		puts(json_object_to_json_string_ext(j, JSON_C_TO_STRING_PRETTY));
		json_object_put(j);
		return;
	}
	if (o->quiet)
		return;
	printf("device   %s\nuuid     %s\nlabel    %s\nsize     %s (%llu blocks of 4 KiB)\n", o->uri,
		uuid, g->label, tool_size(g->nr_blks * 4096), (unsigned long long)g->nr_blks);
	printf("cluster  %s\njournal  %s\ngroups   %llu\n", tool_size(g->cluster_blks * 4096ull),
		tool_size(g->journal_nr_blks * 4096), (unsigned long long)g->nr_ags);
	if (key[0])
		printf("key      %s (copy it to each node, mode 0600)\n", key);
	if (o->dry_run)
		puts("nothing was written (--dry-run)");
}

static void progress(void *arg, uint64_t done, uint64_t total)
{
	const struct options *o = arg;

	if (!o->quiet && !o->json)
		tool_progress("formatting", done, total);
}

static int write_volume(struct options *o, struct bdev_queue *queue, const struct csv_geometry *geom)
{
	bool reserved = reserve_count(queue) > 0;
	uint64_t key;
	int err = reserved ? reserve_take(queue, &key) : 0;

	if (err)
		return err;
	err = csv_mkfs_write(queue, geom, progress, o);
	if (reserved)
		reserve_drop(queue, key);
	return err;
}

static int make(struct options *o, struct bdev *bdev, struct bdev_queue *queue)
{
	struct csv_mkfs m = { .label = o->label, .cluster_bytes = (uint32_t)o->cluster_bytes,
		.journal_bytes = o->journal_bytes };
	uint64_t size = bdev_geom(bdev).size_bytes;
	struct csv_geometry geom;
	char key[512];

	if (check_device(o, queue, size) || check_reservations(o, queue))
		return 1;
	if (o->uuid)
		uuid_parse(o->uuid, m.uuid);
	else
		uuid_generate(m.uuid);
	int err = csv_mkfs_plan(&m, size, &geom);
	if (err == -ENOSPC) {
		char why[128];
		snprintf(why, sizeof(why), "it has %s; a volume needs at least %s", tool_size(size),
			tool_size(CSV_MIN_BYTES));
		return die(o->uri, why);
	}
	if (err)
		return die(o->uri, "these sizes do not go together; see --cluster and --journal");
	if (volume_key(o, m.uuid, geom.key_id, key, sizeof(key)))
		return 1;
	if (!o->dry_run) {
		err = write_volume(o, queue, &geom);
		if (err)
			return die(o->uri, err_str(err));
	}
	print_geometry(o, &geom, key);
	return 0;
}

static int run(struct options *o)
{
	struct bdev_opts opts = { .auth_file = o->auth_file, .readonly = o->dry_run };
	struct bdev_queue *queue = NULL;
	struct bdev *bdev = NULL;
	struct loop *loop = NULL;
	char *why = NULL;
	int ret = 1;

	if (in_use_here(o->uri))
		return die(o->uri, "it is in use (mounted, or part of something); free it first");
	int err = loop_new(&loop);
	if (!err)
		err = bdev_open(o->uri, &opts, &bdev, &why);
	if (err) {
		fprintf(stderr, "mkfs.csvfs: %s\n", why ? why : err_str(err));
	} else {
		err = bdev_queue_open(bdev, loop, &queue);
		ret = err ? die(o->uri, err_str(err)) : make(o, bdev, queue);
	}
	free(why);
	bdev_queue_close(queue);
	bdev_close(bdev);
	loop_free(loop);
	return ret;
}

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "mkfs.csvfs: %s: \"%s\"; see mkfs.csvfs --help\n", what, value);
	return 2;
}

int main(int argc, char **argv)
{
	enum { OPT_AUTH = 256, OPT_JSON, OPT_NO_KEY };
	static const struct option longopts[] = { { "label", 1, NULL, 'L' }, { "uuid", 1, NULL, 'U' },
		{ "cluster", 1, NULL, 'c' }, { "journal", 1, NULL, 'j' },
		{ "key-file", 1, NULL, 'k' }, { "no-key", 0, NULL, OPT_NO_KEY },
		{ "auth-file", 1, NULL, OPT_AUTH }, { "force", 0, NULL, 'f' },
		{ "dry-run", 0, NULL, 'n' }, { "json", 0, NULL, OPT_JSON },
		{ "quiet", 0, NULL, 'q' }, { "help", 0, NULL, 'h' }, { "version", 0, NULL, 'V' },
		{ NULL, 0, NULL, 0 } };
	struct options o = { 0 };
	uuid_t uuid;
	int c;

	while ((c = getopt_long(argc, argv, "L:U:c:j:k:fnqhV", longopts, NULL)) != -1) {
		switch (c) {
		case 'L':
			o.label = optarg;
			if (strlen(optarg) > 63)
				return wrong("a label has up to 63 bytes", optarg);
			break;
		case 'U':
			o.uuid = optarg;
			if (uuid_parse(optarg, uuid))
				return wrong("not a UUID", optarg);
			break;
		case 'c':
			if (tool_parse_size(optarg, &o.cluster_bytes) || o.cluster_bytes < 4096 ||
				o.cluster_bytes > 4u << 20 ||
				(o.cluster_bytes & (o.cluster_bytes - 1)))
				return wrong("a cluster is a power of two from 4k to 4M", optarg);
			break;
		case 'j':
			if (tool_parse_size(optarg, &o.journal_bytes))
				return wrong("not a size", optarg);
			break;
		case 'k':
			o.key_file = optarg;
			break;
		case OPT_NO_KEY:
			o.no_key = true;
			break;
		case OPT_AUTH:
			o.auth_file = optarg;
			break;
		case 'f':
			o.force = true;
			break;
		case 'n':
			o.dry_run = true;
			break;
		case OPT_JSON:
			o.json = true;
			break;
		case 'q':
			o.quiet = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts(TOOL_VERSION);
			return 0;
		default:
			fputs("Try 'mkfs.csvfs --help'.\n", stderr);
			return 2;
		}
	}
	if (argc - optind != 1) {
		fputs("mkfs.csvfs: give one device; see mkfs.csvfs --help\n", stderr);
		return 2;
	}
	o.uri = argv[optind];
	return run(&o);
}
