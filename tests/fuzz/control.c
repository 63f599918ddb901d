/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What anybody writes to the control socket: the real one, of a node that coordinates a real volume.
 *
 *	size of a piece (1), number of pieces before the other end closes (1), then what is written
 *
 * A line is answered with one line of JSON, or not at all; nothing is left open.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "csvfs/volume/volume_internal.h"
#include "tests/fuzz/volume.h"

const char *const fuzz_words[] = { "{", "}", "[", "]", "\"", ":", ",", "\"cmd\":", "\"status\"", "\"coordinator-move\"",
	"\"check-start\"", "\"check-status\"", "\"log\"", "\"node\":", "\"from\":", "\"bytes_per_s\":", "0", "1", "-1",
	"64", "65", "1e99", "18446744073709551615", "9223372036854775808", "null", "true", "\\u0000", "\\ud800",
	"\n", "\\", "[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "/*", NULL };

static const char *const seeds[] = {
	"{\"cmd\": \"status\"}\n",
	"{\"cmd\": \"coordinator-move\", \"node\": 2}\n",
	"{\"cmd\": \"coordinator-move\", \"node\": -5}\n",
	"{\"cmd\": \"check-start\", \"bytes_per_s\": 1000000}\n",
	"{\"cmd\": \"check-start\"}\n{\"cmd\": \"check-status\"}\n",
	"{\"cmd\": \"check-status\", \"from\": 0}\n",
	"{\"cmd\": \"log\"}\n",
	"{\"cmd\": {\"cmd\": []}}\n", "[1, 2]\n", "\"cmd\"\n", "{}\n", "\n", "{\"cmd\": 7}\n", "null\n",
};

static struct fuzz_volume clean, dirty;
static struct volume *vol;
static char dir[] = "/tmp/csvfs-fuzz.XXXXXX";
static struct engine e;

static int to_coordinator(void *arg, const void *data, uint32_t len)
{
	return -ENOTCONN;
}

static void to_node(void *arg, uint32_t node, const void *data, uint32_t len)
{
}

static void fence(void *arg, uint32_t node, const char *why)
{
}

static void nothing(void *arg)
{
}

static void remove_dir(void)
{
	control_free(vol->control);
	rmdir(dir);
}

/* What volume_run() makes, without the mount. */
static void make_volume(struct loop *loop)
{
	static const struct lm_ops ops = { .become_coordinator = nothing };
	struct lm_cfg lcfg = { .loop = loop, .bdev = clean.keep, .slot_blk = CSV_SLOT_BLK, .single = true,
		.no_fence = true, .name = "fuzz", .ops = &ops };
	struct coord_cfg ccfg = { .fs = e.fs, .queue = e.queue, .epoch = e.epoch, .node = 1, .send = to_node,
		.fence = fence, .serving = nothing };
	struct node_cfg ncfg = { .loop = loop, .bdev = e.stats, .send = to_coordinator };

	vol = calloc(1, sizeof(*vol));
	CHECK(vol);
	vol->cfg.control_dir = dir;
	vol->cfg.mountpoint = "/csv/fuzz";
	vol->loop = loop;
	vol->bdev = e.stats;
	vol->queue = e.queue;
	vol->geom = *csv_fs_geometry(e.fs);
	vol->self = 1;
	vol->role = ROLE_SERVING;
	vol->fs = e.fs;
	list_init(&vol->peers);
	snprintf(vol->uuid_text, sizeof(vol->uuid_text), "fuzz");
	CHECK_OK(lm_new(&lcfg, &vol->lm));
	CHECK_OK(node_new(&ncfg, &vol->node));
	CHECK_OK(coord_new(&ccfg, 0, &vol->coord));
	CHECK_OK(control_new(vol, &vol->control));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct loop *loop;

	fuzz_volumes_make(&clean, &dirty);
	CHECK_OK(loop_new(&loop));
	fuzz_volume_open(&clean, loop, &e);
	engine_open(&e, 0);
	CHECK(mkdtemp(dir));
	make_volume(loop);
	atexit(remove_dir);
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (size_t i = 0; i < ARRAY_SIZE(seeds); i++) {
		struct fuzz_out out = { .len = 0 };
		fuzz_put(&out, i % 3 ? 255 : i + 1, 1);
		fuzz_put(&out, i % 4 ? 255 : 3, 1);
		fuzz_put_bytes(&out, seeds[i], strlen(seeds[i]));
		add(out.data, out.len);
	}
}

static int connect_to(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/fuzz.sock", dir);
	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	return fd;
}

static void check_answer(const char *text, size_t len)
{
	struct json_object *o;

	if (len == 0)
		return; /* closed without one */
	if (text[len - 1] != '\n' || memchr(text, '\n', len - 1))
		fuzz_fail("the answer is not one line");
	o = json_tokener_parse(text);
	if (!json_object_is_type(o, json_type_object))
		fuzz_fail("the answer is no JSON object");
	json_object_put(o);
}

/* Reads what comes until the other end closes. */
static void read_answer(int fd)
{
	static char text[4 << 20];
	size_t len = 0;
	bool end = false;

	for (int i = 0; !end; i++) {
		if (i > 10000)
			fuzz_fail("it is neither answered nor closed");
		loop_run_once(vol->loop, false);
		ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
		end = n == 0 || (n < 0 && errno != EAGAIN);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = 0;
	check_answer(text, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	size_t piece = 1 + fuzz_num(&in, 1), pieces = 1 + fuzz_num(&in, 1), n;
	int fd = connect_to();

	loop_run_once(vol->loop, false);
	while (in.left > 0 && pieces-- > 0) {
		const uint8_t *bytes = fuzz_bytes(&in, piece, &n);
		if (send(fd, bytes, n, MSG_NOSIGNAL) < 0)
			break;
		loop_run_once(vol->loop, false);
	}
	shutdown(fd, SHUT_WR);
	read_answer(fd);
	close(fd);
	vscrub_free(vol);
	if (csv_fs_error(vol->fs))
		fuzz_fail("the engine has stopped");
	return 0;
}
