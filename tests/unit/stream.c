/* libs: stream util */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Streams over loopback, both ends real: keys, frames of all sizes, peers that misbehave. */
#include "util/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "util/crc32c.h"
#include "util/log.h"

#define DEADLINE_S 20

static const uint8_t KEY[STREAM_KEY_BYTES] = { 1, 2, 3, 250, 0, 7 };
static const uint8_t OTHER_KEY[STREAM_KEY_BYTES] = { 1, 2, 3, 251, 0, 7 };
static const char UUID[] = "3c1f7a52-7b1a-4f4e-9a62-58b1de2d7f10";

struct side {
	struct stream *stream;
	int opened, closed, err;
	uint64_t frames, bytes;
	uint32_t crc, last;
	bool echo;		 /* send each frame back */
	uint64_t free_at_frames; /* free the stream from the callback of this frame */
};

struct pair {
	struct loop *loop;
	struct stream_cfg cfg; /* the server's */
	struct stream_listener *listener;
	struct side server, client;
	int accepted;
	bool refuse; /* set no ops in on_accept */
	bool free_listener;
};

static void on_open(struct stream *s, void *arg)
{
	struct side *side = arg;

	CHECK(side->stream == s);
	CHECK(!side->closed);
	side->opened++;
}

static void on_frame(struct stream *s, void *arg, const void *frame, size_t len)
{
	struct side *side = arg;

	CHECK(side->stream == s);
	CHECK(!side->closed);
	side->frames++;
	side->bytes += len;
	side->crc = crc32c(side->crc, frame, len);
	if (len >= 4)
		memcpy(&side->last, frame, 4);
	if (side->echo)
		CHECK_OK(stream_send(s, frame, len));
	if (side->frames == side->free_at_frames) {
		side->stream = NULL;
		stream_free(s);
	}
}

static void on_close(struct stream *s, void *arg, int err)
{
	struct side *side = arg;

	CHECK(side->stream == s);
	CHECK(err < 0);
	side->closed++;
	side->err = err;
	side->stream = NULL;
	/* An owner that frees it here does no harm. */
	stream_free(s);
}

static const struct stream_ops ops = { on_open, on_frame, on_close };

static void on_accept(void *arg, struct stream *stream)
{
	struct pair *p = arg;

	p->accepted++;
	if (p->refuse)
		return;
	p->server.stream = stream;
	stream_set_ops(stream, &ops, &p->server);
	if (p->free_listener) {
		stream_listener_free(p->listener);
		p->listener = NULL;
	}
}

/* Runs the loop until cond; the check names the place where it did not come true in time. */
#define WAIT(p, cond)                                                                              \
	do {                                                                                       \
		uint64_t end_ = clock_mono_ns() + DEADLINE_S * 1000000000ull;                      \
		ev_timer tick_;                                                                    \
		ev_timer_init(&tick_, on_tick, 0.05, 0.05);                                        \
		ev_timer_start(loop_ev((p)->loop), &tick_);                                        \
		while (!(cond) && clock_mono_ns() < end_)                                          \
			loop_run_once((p)->loop, true);                                            \
		ev_timer_stop(loop_ev((p)->loop), &tick_);                                         \
		CHECK(cond);                                                                       \
	} while (0)

static void on_tick(struct ev_loop *ev, ev_timer *w, int revents)
{
	(void)ev, (void)w, (void)revents;
}

static void setup(struct pair *p, const struct stream_cfg *more, const char *address)
{
	*p = (struct pair){ .cfg = more ? *more : (struct stream_cfg){ 0 } };
	CHECK_OK(loop_new(&p->loop));
	p->cfg.loop = p->loop;
	p->cfg.psk = KEY;
	p->cfg.identity = UUID;
	CHECK_OK(stream_listen(&p->cfg, address, 0, on_accept, p, &p->listener));
	CHECK(stream_listener_port(p->listener) != 0);
}

static void dial(struct pair *p, const uint8_t *key, const char *identity, const char *address)
{
	struct stream_cfg cfg = p->cfg;

	cfg.psk = key;
	cfg.identity = identity;
	CHECK_OK(stream_connect(&cfg, address, stream_listener_port(p->listener), &ops, &p->client,
		&p->client.stream));
	CHECK_EQ(p->client.opened + p->client.closed, 0);
}

static void up(struct pair *p, const struct stream_cfg *more)
{
	setup(p, more, "127.0.0.1");
	dial(p, KEY, UUID, "127.0.0.1");
	WAIT(p, p->client.opened && p->accepted);
	CHECK(p->server.stream);
}

static void down(struct pair *p)
{
	stream_free(p->client.stream);
	stream_free(p->server.stream);
	stream_listener_free(p->listener);
	loop_free(p->loop);
}

/* What the log's ring holds. */
static bool logged(const char *what)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool found;

	CHECK(f);
	log_dump(f);
	fclose(f);
	found = strstr(text, what) != NULL;
	free(text);
	return found;
}

static void right_key(void)
{
	struct pair p;
	char expect[64];

	up(&p, NULL);
	snprintf(expect, sizeof(expect), "127.0.0.1:%u", stream_listener_port(p.listener));
	CHECK(strcmp(stream_peer(p.client.stream), expect) == 0);
	CHECK(strncmp(stream_peer(p.server.stream), "127.0.0.1:", 10) == 0);
	CHECK_OK(stream_send(p.client.stream, "hello", 5));
	CHECK_OK(stream_send(p.client.stream, "", 0));
	CHECK_OK(stream_send(p.server.stream, "hi", 2));
	WAIT(&p, p.server.frames == 2 && p.client.frames == 1);
	CHECK_EQ(p.server.bytes, 5);
	CHECK_EQ(p.server.crc, crc32c(0, "hello", 5));
	CHECK_EQ(p.client.bytes, 2);

	/* A last word and a clean end. */
	CHECK_OK(stream_send(p.client.stream, "bye", 3));
	stream_free(p.client.stream);
	p.client.stream = NULL;
	WAIT(&p, p.server.closed);
	CHECK_EQ(p.server.frames, 3);
	CHECK_EQ(p.server.err, -ECONNRESET);
	CHECK_EQ(p.server.closed, 1);
	CHECK_EQ(p.client.closed, 0);
	down(&p);
}

static void both_families(void)
{
	struct pair p;

	setup(&p, NULL, "::");
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	CHECK(strncmp(stream_peer(p.server.stream), "127.0.0.1:", 10) == 0);
	down(&p);
}

static void wrong_key(void)
{
	struct pair p;

	setup(&p, NULL, "127.0.0.1");
	dial(&p, OTHER_KEY, UUID, "127.0.0.1");
	CHECK_OK(stream_send(p.client.stream, "secret", 6));
	WAIT(&p, p.client.closed && logged("refused a connection from 127.0.0.1"));
	CHECK_EQ(p.client.err, -ERR_KEY);
	CHECK_EQ(p.client.opened, 0);
	CHECK_EQ(p.client.closed, 1);
	CHECK_EQ(p.accepted, 0);
	CHECK(logged("key"));

	/* Another volume's name with the right key. */
	p.client = (struct side){ 0 };
	dial(&p, KEY, "another", "127.0.0.1");
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.err, -ERR_KEY);
	CHECK_EQ(p.accepted, 0);

	/* The listener serves on. */
	p.client = (struct side){ 0 };
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	down(&p);
}

/* Who accepts sees the address that the other end has chosen. */
static void source(void)
{
	static const char *const listens[] = { "127.0.0.1", "::" };
	struct pair p;

	for (int i = 0; i < 2; i++) {
		setup(&p, NULL, listens[i]);
		p.cfg.source = "127.0.0.2";
		dial(&p, KEY, UUID, "127.0.0.1");
		WAIT(&p, p.client.opened && p.accepted);
		CHECK(stream_peer_is(p.server.stream, "127.0.0.2"));
		CHECK(stream_peer_is(p.server.stream, "::ffff:127.0.0.2"));
		CHECK(!stream_peer_is(p.server.stream, "127.0.0.1"));
		CHECK(!stream_peer_is(p.server.stream, "::1"));
		CHECK(!stream_peer_is(p.server.stream, "localhost"));
		CHECK(stream_peer_is(p.client.stream, "127.0.0.1"));
		down(&p);
	}
	setup(&p, NULL, "::1");
	p.cfg.source = "127.0.0.2"; /* of another family */
	dial(&p, KEY, UUID, "::1");
	WAIT(&p, p.client.opened && p.accepted);
	CHECK(stream_peer_is(p.server.stream, "::1"));
	p.cfg.source = "2001:db8::1";
	CHECK_EQ(stream_connect(&p.cfg, "::1", stream_listener_port(p.listener), &ops, &p.client,
			 &(struct stream *){ NULL }), -EADDRNOTAVAIL);
	down(&p);
}

static void nobody_there(void)
{
	struct pair p;
	uint16_t port;

	setup(&p, NULL, "127.0.0.1");
	port = stream_listener_port(p.listener);
	stream_listener_free(p.listener);
	p.listener = NULL;
	CHECK_OK(stream_connect(&p.cfg, "127.0.0.1", port, &ops, &p.client, &p.client.stream));
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.err, -ECONNREFUSED);
	CHECK_EQ(stream_connect(&p.cfg, "example.org", port, &ops, &p.client, &p.client.stream),
		-EINVAL);
	/* connect(2) fails at once: still told by on_close, later. */
	p.client = (struct side){ 0 };
	CHECK_OK(stream_connect(&p.cfg, "255.255.255.255", port, &ops, &p.client,
		&p.client.stream));
	CHECK_EQ(p.client.closed, 0);
	CHECK(p.client.stream != NULL);
	WAIT(&p, p.client.closed);
	CHECK(p.client.err < 0);
	down(&p);
}

static void free_unopened(void)
{
	struct pair p;

	setup(&p, NULL, "127.0.0.1");
	dial(&p, KEY, UUID, "127.0.0.1");
	CHECK_OK(stream_send(p.client.stream, "x", 1));
	down(&p);
	CHECK_EQ(p.client.closed, 0);
}

static void big_frames(void)
{
	struct pair p;
	size_t size = 2u << 20;
	uint8_t *data = malloc(size + 1);
	uint32_t crc = 0;

	CHECK(data);
	up(&p, NULL);
	for (size_t i = 0; i < size + 1; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	CHECK_EQ(stream_send(p.client.stream, data, size + 1), -EMSGSIZE);
	for (int i = 0; i < 8; i++) {
		size_t len = size - (size_t)i * 100003;

		CHECK_OK(stream_send(p.client.stream, data, len));
		crc = crc32c(crc, data, len);
	}
	p.server.echo = true;
	WAIT(&p, p.client.frames == 8);
	CHECK_EQ(p.server.crc, crc);
	CHECK_EQ(p.client.crc, crc);
	CHECK_EQ(p.client.bytes, p.server.bytes);
	free(data);
	down(&p);
}

/* The receiver's limit is lower than the sender's. */
static void oversized_frame(void)
{
	struct stream_cfg cfg = { .max_frame = 1000 };
	char data[1001] = "";
	struct pair p;

	setup(&p, &cfg, "127.0.0.1");
	p.cfg.max_frame = 0;
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	CHECK_OK(stream_send(p.client.stream, data, 1000));
	CHECK_OK(stream_send(p.client.stream, data, 1001));
	WAIT(&p, p.server.closed && p.client.closed);
	CHECK_EQ(p.server.frames, 1);
	CHECK_EQ(p.server.err, -EPROTO);
	CHECK_EQ(p.client.err, -ECONNRESET);
	CHECK(logged("frame of 1001 bytes"));
	down(&p);
}

static void queue_limit(void)
{
	struct pair p;
	size_t size = 2u << 20;
	uint8_t *data = calloc(1, size);
	int sent = 0, err;

	CHECK(data);
	up(&p, NULL);
	while ((err = stream_send(p.client.stream, data, size)) == 0)
		sent++;
	CHECK_EQ(err, -ENOBUFS);
	CHECK_EQ(sent, 31);
	WAIT(&p, p.server.frames == 31);
	CHECK_OK(stream_send(p.client.stream, data, size));
	WAIT(&p, p.server.frames == 32);
	free(data);
	down(&p);
}

static void ten_thousand(void)
{
	const uint32_t count = 10000;
	struct pair p;
	uint8_t data[700];
	uint32_t crc = 0;

	up(&p, NULL);
	p.server.echo = true;
	for (uint32_t i = 1; i <= count; i++) {
		size_t len = 4 + i % (sizeof(data) - 3);

		memset(data, (int)i, sizeof(data));
		memcpy(data, &i, 4);
		crc = crc32c(crc, data, len);
		CHECK_OK(stream_send(p.client.stream, data, len));
		/* Half of them in bursts, half one at a time. */
		if (i > count / 2)
			loop_run_once(p.loop, false);
	}
	WAIT(&p, p.client.frames == count);
	CHECK_EQ(p.client.crc, crc);
	CHECK_EQ(p.client.last, count);
	down(&p);
}

static void freed_in_callbacks(void)
{
	struct pair p;

	/* Three frames come with one read; the stream is freed by the first. */
	up(&p, NULL);
	p.server.free_at_frames = 1;
	for (int i = 0; i < 3; i++)
		CHECK_OK(stream_send(p.client.stream, "abcd", 4));
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.server.frames, 1);
	CHECK_EQ(p.server.closed, 0);
	down(&p);

	/* The same after a send that is then lost or not, but harms nothing. */
	up(&p, NULL);
	p.server.free_at_frames = 1;
	p.server.echo = true;
	CHECK_OK(stream_send(p.client.stream, "abcd", 4));
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.frames, 1);
	down(&p);

	/* Nobody takes the stream. */
	setup(&p, NULL, "127.0.0.1");
	p.refuse = true;
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.accepted, 1);
	down(&p);

	setup(&p, NULL, "127.0.0.1");
	p.free_listener = true;
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	CHECK_OK(stream_send(p.client.stream, "abcd", 4));
	WAIT(&p, p.server.frames == 1);
	down(&p);
}

static void idle(void)
{
	struct stream_cfg cfg = { .idle_timeout_ms = 300 };
	uint64_t start, now;
	struct pair p;
	int sent = 0;

	/* Only the client talks, so it alone hears nothing; the server's time is pushed on. */
	setup(&p, &cfg, "127.0.0.1");
	p.cfg.idle_timeout_ms = 0;
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	start = clock_mono_ns();
	while ((now = clock_mono_ns()) < start + 900000000) {
		if (now > start + (uint64_t)sent * 60000000) {
			CHECK_OK(stream_send(p.client.stream, "beat", 4));
			sent++;
		}
		loop_run_once(p.loop, false);
		poll(NULL, 0, 1);
		CHECK_EQ(p.server.closed, 0);
	}
	start = clock_mono_ns();
	WAIT(&p, p.server.closed);
	CHECK_EQ(p.server.err, -ETIMEDOUT);
	CHECK(clock_mono_ns() - start > 150000000);
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.err, -ECONNRESET);
	down(&p);
}

/* A peer without TLS. */
static int raw_connect(uint16_t port)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(fd >= 0);
	CHECK_EQ(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* True when the other side has closed. */
static bool raw_closed(int fd)
{
	char buf[256];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

static void strangers(void)
{
	static const char *const words[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage that begins like a ClientHello",
		"\x15\x03\x03\x00\x02\x02\x28",
		"\x17\x03\x03\xff\xff",
	};
	struct stream_cfg cfg = { .connect_timeout_ms = 400 };
	struct pair p;
	int silent, fd[200];

	setup(&p, &cfg, "127.0.0.1");
	silent = raw_connect(stream_listener_port(p.listener));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		int raw = raw_connect(stream_listener_port(p.listener));

		CHECK(send(raw, words[i], i == 2 ? 7 : i == 3 ? 5 : strlen(words[i]), 0) > 0);
		WAIT(&p, raw_closed(raw));
		close(raw);
	}
	/* Who says nothing is sent away too. */
	WAIT(&p, raw_closed(silent));
	close(silent);

	/* A crowd does not keep a member out. */
	for (int i = 0; i < 200; i++)
		fd[i] = raw_connect(stream_listener_port(p.listener));
	dial(&p, KEY, UUID, "127.0.0.1");
	WAIT(&p, p.client.opened && p.accepted);
	for (int i = 0; i < 200; i++)
		close(fd[i]);
	CHECK_EQ(p.accepted, 1);
	CHECK(logged("refused a connection"));
	down(&p);
}

/* The server is no csvfs node: it accepts and answers nonsense, or nothing. */
static void strange_server(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), conn;
	struct pair p;

	CHECK_EQ(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	CHECK_EQ(listen(fd, 4), 0);
	CHECK_EQ(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	setup(&p, NULL, "127.0.0.1");
	p.cfg.connect_timeout_ms = 300;
	CHECK_OK(stream_connect(
		&p.cfg, "127.0.0.1", ntohs(in.sin_port), &ops, &p.client, &p.client.stream));
	conn = accept(fd, NULL, NULL);
	CHECK(conn >= 0);
	CHECK_EQ(send(conn, "SSH-2.0-OpenSSH_9.2\r\n", 21, 0), 21);
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.err, -EPROTO);
	close(conn);

	p.client = (struct side){ 0 };
	CHECK_OK(stream_connect(
		&p.cfg, "127.0.0.1", ntohs(in.sin_port), &ops, &p.client, &p.client.stream));
	WAIT(&p, p.client.closed);
	CHECK_EQ(p.client.err, -ETIMEDOUT);
	close(fd);
	down(&p);
}

/* A peer process that dies in the middle of a frame: the frame is never handed over. */
static void killed_mid_frame(void)
{
	struct pair p;
	struct side child = { 0 };
	struct stream_cfg cfg;
	int status;
	pid_t pid;

	setup(&p, NULL, "127.0.0.1");
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct loop *loop;
		uint8_t *big = calloc(1, 2u << 20);

		if (!big || loop_new(&loop) != 0)
			_exit(1);
		cfg = p.cfg;
		cfg.loop = loop;
		if (stream_connect(&cfg, "127.0.0.1", stream_listener_port(p.listener), &ops, &child,
			    &child.stream) != 0)
			_exit(1);
		while (!child.opened)
			loop_run_once(loop, true);
		if (stream_send(child.stream, "whole", 5) != 0)
			_exit(1);
		for (int i = 0; i < 8; i++) {
			if (stream_send(child.stream, big, 2u << 20) != 0)
				_exit(1);
		}
		/* The server does not read any more: this fills the socket and stops. */
		for (;;)
			loop_run_once(loop, true);
	}
	WAIT(&p, p.server.frames >= 1);
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	WAIT(&p, p.server.closed);
	CHECK_EQ(p.server.err, -ECONNRESET);
	CHECK(p.server.frames < 9);
	CHECK_EQ((p.server.bytes - 5) % (2u << 20), 0);
	down(&p);
}

int main(void)
{
	signal(SIGPIPE, SIG_DFL);
	right_key();
	both_families();
	wrong_key();
	source();
	nobody_there();
	free_unopened();
	big_frames();
	oversized_frame();
	queue_limit();
	ten_thousand();
	freed_in_callbacks();
	idle();
	strangers();
	strange_server();
	killed_mid_frame();
	return 0;
}
