/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other end of a stream, with the key and without it.
 *
 *	1: FROM_CLIENT: the peer has connected to a listener of ours, else ours to it; KEYED: it does the
 *	handshake and sends what follows as its records' content; RAW_AFTER: with KEYED, from the middle on it
 *	sends bytes that are no records; ECHO: each frame is sent back
 *	1: the size of a piece that it sends; 1: our end is freed in the callback of this frame; 0: not
 *	then what it sends
 *
 * Frames come as they were sent, in order, until one is too long; who has not shown the key is never
 * heard; a stream ends once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/test.h"
#include "util/checked.h"
#include "util/le.h"
#include "util/log.h"
#include "util/stream_internal.h"

const char *const fuzz_words[] = { NULL };

#define FROM_CLIENT 1u
#define KEYED 2u
#define RAW_AFTER 4u
#define ECHO 8u
#define MAX_FRAME 8192u
#define TRIES 10000

static const uint8_t KEY[STREAM_KEY_BYTES] = { 1, 2, 3 };
static struct loop *loop;
static struct stream_cfg cfg;
static struct tls_keys *keys;
static struct stream_listener *listener;

static struct world {
	struct stream *stream;
	const uint8_t *sent; /* frames that are still expected */
	size_t left;
	bool echo, heard, opened, closed;
	unsigned nr_frames, free_at;
} *w;

static void on_open(struct stream *s, void *arg)
{
	if (w->opened || w->closed)
		fuzz_fail("it opens twice, or after its end");
	w->opened = true;
}

static void on_frame(struct stream *s, void *arg, const void *frame, size_t len)
{
	struct le32 head;

	if (!w->opened || w->closed)
		fuzz_fail("a frame before the handshake or after the end");
	if (w->left < sizeof(head) + len || len > MAX_FRAME)
		fuzz_fail("a frame that was not sent");
	memcpy(&head, w->sent, sizeof(head));
	if (le32_get(head) != len || memcmp(w->sent + sizeof(head), frame, len))
		fuzz_fail("a frame is not as it was sent");
	w->sent += sizeof(head) + len;
	w->left -= sizeof(head) + len;
	if (w->echo)
		(void)!stream_send(s, frame, len);
	if (++w->nr_frames == w->free_at) {
		w->stream = NULL;
		w->closed = true;
		stream_free(s);
	}
}

static void on_close(struct stream *s, void *arg, int err)
{
	if (w->closed || err >= 0)
		fuzz_fail("it ends twice, or without a reason");
	w->closed = true;
	w->stream = NULL;
}

static const struct stream_ops ops = { on_open, on_frame, on_close };

static void on_accept(void *arg, struct stream *stream)
{
	stream_set_ops(stream, &ops, NULL);
	w->stream = stream;
	on_open(stream, NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_level((enum log_level)-1);
	CHECK_OK(loop_new(&loop));
	cfg = (struct stream_cfg){ .loop = loop, .psk = KEY, .identity = "fuzz", .max_frame = MAX_FRAME };
	CHECK_OK(tls_keys_new(KEY, "fuzz", &keys));
	CHECK_OK(stream_listen(&cfg, "127.0.0.1", 0, on_accept, NULL, &listener));
	return 0;
}

/* ---- the other end ---- */

static int dial(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(stream_listener_port(listener)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger linger = { 1, 0 }; /* leaves no port behind in TIME_WAIT */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK_OK(connect(fd, (struct sockaddr *)&in, sizeof(in)));
	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK));
	return fd;
}

static int be_dialled(void)
{
	struct sockaddr_storage peer = { .ss_family = AF_INET };
	int ends[2];

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
	CHECK_OK(stream_new_internal(&cfg, keys, ends[0], &peer, NULL, &w->stream));
	stream_set_ops(w->stream, &ops, NULL);
	return ends[1];
}

/* Ours takes its turn; what it sends is not read. True while it is there. The kernel may take its time
 * with what goes over TCP. */
static bool turn(int nr)
{
	if (nr > 20)
		poll(NULL, 0, 1);
	loop_run_once(loop, false);
	return !w->closed;
}

static bool handshake(struct tls *tls)
{
	int err = -EAGAIN;

	for (int i = 0; i < TRIES && err == -EAGAIN; i++) {
		turn(i);
		err = tls_handshake(tls);
	}
	for (int i = 0; i < TRIES && !err && !w->opened; i++)
		turn(i);
	return !err && w->opened;
}

static bool send_piece(struct tls *tls, int fd, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = tls ? tls_write(tls, data + at, len - at) :
				  send(fd, data + at, len - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		else if (tls ? n != -EAGAIN : errno != EAGAIN)
			return false; /* ours has closed it */
		if (!turn(0))
			return false;
	}
	return true;
}

/* A frame among these is too long: ours ends at it. */
static bool too_long(const uint8_t *data, size_t len)
{
	struct le32 head;

	while (len >= sizeof(head)) {
		memcpy(&head, data, sizeof(head));
		if (le32_get(head) > MAX_FRAME)
			return true;
		if (len < sizeof(head) + le32_get(head))
			return false;
		data += sizeof(head) + le32_get(head);
		len -= sizeof(head) + le32_get(head);
	}
	return false;
}

static bool whole_frame_left(void)
{
	struct le32 head = { 0 };

	memcpy(&head, w->sent, MIN(w->left, sizeof(head)));
	return w->left >= sizeof(head) + le32_get(head);
}

/* All whole frames have come, or the stream ends, and says so. */
static void expect(bool keyed, bool ends)
{
	for (int i = 0; !w->closed && (ends || (keyed && whole_frame_left())); i++) {
		if (i > TRIES)
			fuzz_fail("frames do not come, or a stream does not end");
		turn(i);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_in in = { data, len };
	static struct world world;
	unsigned mode = (unsigned)fuzz_num(&in, 1);
	size_t piece = 1 + fuzz_num(&in, 1) * 37;
	struct tls tls = { .fd = -1 };

	w = &world;
	*w = (struct world){ .echo = mode & ECHO, .free_at = (unsigned)fuzz_num(&in, 1) };
	w->sent = in.pos;
	w->left = in.left;
	int fd = mode & FROM_CLIENT ? dial() : be_dialled();
	bool keyed = mode & KEYED;
	if (keyed) {
		CHECK_OK(tls_open(&tls, keys, fd, !(mode & FROM_CLIENT)));
		if (!handshake(&tls))
			fuzz_fail("no handshake with the key");
	}
	size_t in_records = keyed && mode & RAW_AFTER ? in.left / 2 : in.left;
	bool up = true;
	for (size_t at = 0; at < in.left && up; at += piece) {
		size_t n = MIN(piece, in.left - at);
		up = send_piece(keyed && at < in_records ? &tls : NULL, fd, in.pos + at, n);
	}
	if (!keyed || !(mode & RAW_AFTER))
		expect(keyed, keyed && too_long(in.pos, in.left));
	if (!keyed && (w->opened || w->nr_frames))
		fuzz_fail("somebody without the key is heard");
	tls_close(&tls);
	close(fd);
	expect(keyed, w->stream != NULL);
	for (int i = 0; i < 8; i++) /* a stranger goes */
		turn(i);
	return 0;
}

/* ---- inputs to begin with ---- */

static void put_frame(struct fuzz_out *out, uint32_t len)
{
	fuzz_put(out, len, 4);
	for (uint32_t i = 0; i < len; i++)
		fuzz_put(out, i, 1);
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	static const uint8_t modes[] = { 0, FROM_CLIENT, KEYED, KEYED | FROM_CLIENT, KEYED | FROM_CLIENT | ECHO,
		KEYED | RAW_AFTER, KEYED | FROM_CLIENT | RAW_AFTER };
	static struct fuzz_out out;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		out.len = 0;
		fuzz_put(&out, modes[i] | 20 << 8 | (i == 4 ? 3 : 0) << 16, 3);
		if (modes[i] & KEYED) {
			put_frame(&out, 5);
			put_frame(&out, 0);
			put_frame(&out, MAX_FRAME);
			put_frame(&out, 70);
			if (i % 2)
				put_frame(&out, MAX_FRAME + 1);
		} else { /* a TLS record: an alert, a ClientHello that is none */
			fuzz_put(&out, 0x02020200030315ull, 7);
			fuzz_put(&out, 0x0100330001030316ull, 8);
		}
		add(out.data, out.len);
	}
}
