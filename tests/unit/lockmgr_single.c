/* libs: util blockdev lockmgr */
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots' bytes; a node without a cluster: it coordinates at once, alone, and finds other users. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/lockmgr_test.h"

static void slot_bytes(void)
{
	uint8_t block[LM_SLOT_BYTES] = { 0 };
	static const uint8_t uuid[16] = { 1 };
	struct lm_slot slot = { .state = LM_SLOT_LIVE, .node = 3, .generation = 99, .pr_key = 7,
		.epoch = 5, .beat = 4, .time_ns = 1, .lease_ms = 2, .beat_ms = 3, .name = "x" };
	struct lm_slot got;

	CHECK_OK(slot_decode(block, uuid, 66, 3, &got));
	CHECK_EQ(got.state, LM_SLOT_FREE);
	slot.fenced_gen[64] = 8;
	slot_set_process(&slot);
	CHECK(!slot_process_is_dead(&slot));
	slot_encode(&slot, uuid, 66, block);
	CHECK_OK(slot_decode(block, uuid, 66, 3, &got));
	CHECK(memcmp(&slot, &got, sizeof(slot)) == 0);
	CHECK_EQ(slot_decode(block, uuid, 67, 3, &got), -ERR_CORRUPT);
	CHECK_EQ(slot_decode(block, uuid, 66, 4, &got), -ERR_CORRUPT);
	CHECK_EQ(slot_decode(block, (const uint8_t[16]){ 2 }, 66, 3, &got), -ERR_CORRUPT);
	for (size_t i = 0; i < LM_SLOT_BYTES; i++) {
		block[i] ^= 1;
		CHECK_EQ(slot_decode(block, uuid, 66, 3, &got), -ERR_CORRUPT);
		block[i] ^= 1;
	}
}

struct single {
	struct tnode t;
	struct lm_coordinator coord;
};

static void on_coordinator(void *arg, const struct lm_coordinator *coord)
{
	((struct single *)arg)->coord = *coord;
}

static void on_become(void *arg)
{
	struct single *s = arg;

	s->t.nr_become++;
	lm_serving(s->t.lm, 42);
}

static const struct lm_ops single_ops = {
	.become_coordinator = on_become,
	.coordinator = on_coordinator,
	.fenced = t_fenced,
};

static void open_single(struct single *s, const char *uri)
{
	struct lm_cfg cfg = t_cfg();

	memset(s, 0, sizeof(*s));
	cfg.single = true;
	cfg.ops = &single_ops;
	cfg.port = 1234;
	t_open(&s->t, uri, &cfg, 0);
}

static void join_single(struct single *s)
{
	char *why = NULL;
	int err = lm_join(s->t.lm, s->t.queue, &why);

	if (err) {
		fprintf(stderr, "%s\n", why);
		exit(1);
	}
	CHECK_OK(bdev_queue_open(s->t.bdev, s->t.loop, &s->t.data));
}

static void serves_at_once(const char *uri, enum lm_fencing fencing)
{
	struct single s;
	struct lm_status st;

	open_single(&s, uri);
	join_single(&s);
	T_UNTIL(&s.t, 1, s.coord.node == 1);
	CHECK_EQ(s.coord.epoch, 42);
	CHECK_EQ(s.coord.port, 1234);
	CHECK(strcmp(s.coord.address, "127.0.0.1") == 0);
	CHECK_EQ(s.t.nr_become, 1);
	lm_status(s.t.lm, &st);
	CHECK_EQ(st.fencing, fencing);
	CHECK(st.quorate && !st.clustered);
	CHECK_EQ(st.nr_nodes, 1);
	CHECK(st.nodes[0].coordinator && st.nodes[0].member && st.nodes[0].live);
	lm_resign(s.t.lm, 0);
	T_UNTIL(&s.t, 1, s.t.nr_become == 2);
	t_write(&s.t, 'z');
	T_UNTIL(&s.t, 1, s.t.written);
	CHECK_OK(s.t.status);
	t_close(&s.t);
}

static void once_a_node(void)
{
	struct single a, b;
	char *why = NULL;

	open_single(&a, "ram:1M?name=once");
	join_single(&a);
	open_single(&b, "ram:1M?name=once");
	CHECK_EQ(lm_join(b.t.lm, b.t.queue, &why), -ERR_MOUNTED);
	CHECK(why && strstr(why, "mounted on this node already"));
	free(why);
	t_close(&b.t);
	t_close(&a.t);
}

static void *turn_thread(void *arg)
{
	struct tnode *t = arg;

	loop_run(t->loop);
	return NULL;
}

/* Somebody whose beat moves is told from somebody who died. (No guard: as if on another host.) */
static void other_user(const char *uri)
{
	struct single a, b;
	pthread_t thread;
	char *why = NULL;

	open_single(&a, uri);
	t_enter(&a.t);
	CHECK_EQ(pthread_create(&thread, NULL, turn_thread, &a.t), 0);
	open_single(&b, uri);
	CHECK_EQ(lm_enter(b.t.lm, clock_mono_ns() + 20000000000ull, &why), -EBUSY);
	CHECK(why && strstr(why, "its beat moves"));
	free(why);
	lm_set_phase(b.t.lm, LM_NEW);
	loop_stop(a.t.loop);
	pthread_join(thread, NULL);

	/* Now it stands still, so it counts as dead; when it goes on it is fenced. */
	t_enter(&b.t);
	T_UNTIL(&b.t, 1, b.coord.node == 1);
	T_UNTIL(&a.t, 1, a.t.nr_fenced == 1);
	t_write(&a.t, 'o');
	T_UNTIL(&a.t, 1, a.t.written);
	CHECK_EQ(a.t.status, -ERR_FENCED);
	CHECK_EQ(b.t.nr_fenced, 0);
	t_close(&b.t);
	t_close(&a.t);
}

/* The process that had the volume was killed: the next one need not wait for its beat. */
static void after_kill(void)
{
	char path[] = "/var/tmp/csvfs-lockmgr-XXXXXX", uri[64];
	int fd = mkstemp(path), status;
	int ready[2];
	char c;
	struct single s;
	uint64_t begin_ns;
	pid_t pid;

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 1 << 20), 0);
	close(fd);
	snprintf(uri, sizeof(uri), "file:%s", path);
	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		open_single(&s, uri);
		s.t.lm->beat_ms = 5000; /* what would be waited for otherwise: 15 s */
		join_single(&s);
		CHECK_EQ(write(ready[1], "x", 1), 1);
		loop_run(s.t.loop);
	}
	CHECK_EQ(read(ready[0], &c, 1), 1);
	open_single(&s, uri);
	{
		char *why = NULL;

		CHECK_EQ(lm_join(s.t.lm, s.t.queue, &why), -ERR_MOUNTED);
		free(why);
	}
	CHECK_EQ(kill(pid, SIGKILL), 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	begin_ns = clock_mono_ns();
	join_single(&s);
	CHECK(clock_mono_ns() - begin_ns < 5000000000ull);
	T_UNTIL(&s.t, 1, s.coord.node == 1);
	CHECK_EQ(s.t.lm->fencing, LM_FENCE_NONE);
	t_close(&s.t);
	close(ready[0]);
	close(ready[1]);
	unlink(path);
}

int main(void)
{
	slot_bytes();
	serves_at_once("ram:1M", LM_FENCE_NONE);
	serves_at_once("ram:1M?name=sp", LM_FENCE_PR);
	serves_at_once("ram:1M?name=sl&no=pr", LM_FENCE_LEASE);
	once_a_node();
	other_user("ram:1M?name=op");
	other_user("ram:1M?name=ol&no=pr");
	after_kill();
	return 0;
}
