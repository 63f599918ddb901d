/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reads or writes an iSCSI LUN with libiscsi alone: what the same network and target give to a program
 * without a file system. One thread and session each, `depth` requests in flight among them.
 * Prints one JSON object.
 */
#include <errno.h>
#include <getopt.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_SESSIONS 16
#define NR_BUCKETS 1024 /* of latency, each 2 % wider than the one before */

static const char usage[] =
	"Usage: rawio [OPTION]... iscsi://HOST[:PORT]/TARGET/LUN\n"
	"Overwrites the LUN when told to write.\n"
	"\n"
	"  -w, --write          write; default: read\n"
	"  -r, --random         at random places; default: in sequence\n"
	"  -b, --block=BYTES    size of a request; default 4096\n"
	"  -d, --depth=N        requests in flight, over all sessions; default 1\n"
	"  -s, --sessions=N     iSCSI sessions, a thread each; default 1\n"
	"  -t, --seconds=N      how long; default 5; 0: the region once\n"
	"  -S, --size=BYTES     of the region; default 256 MiB\n"
	"  -o, --offset=BYTES   where the region begins; default 0\n"
	"  -i, --initiator=NAME default iqn.2025-01.org.csvfs:rawio\n"
	"  -h, --help           show this text\n";

static struct config {
	const char *url, *initiator;
	bool write, random;
	uint64_t block, depth, sessions, seconds, size, offset;
} cfg = { .initiator = "iqn.2025-01.org.csvfs:rawio", .block = 4096, .depth = 1, .sessions = 1,
	.seconds = 5, .size = 256 << 20 };

struct session;

struct slot {
	struct session *session;
	struct scsi_iovec iov;
	uint64_t start_ns;
};

struct session {
	pthread_t thread;
	struct iscsi_context *ctx;
	int lun;
	uint32_t lba_bytes;
	uint64_t next, first, nr; /* blocks of the region: this session's share */
	uint64_t rng;
	struct slot *slots;
	uint64_t nr_slots, in_flight;
	uint64_t begin_ns, end_ns, last_ns;
	uint64_t ops, total_ns, buckets[NR_BUCKETS];
	const char *error;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
static uint64_t random_u64(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1du;
}

/* Bucket b holds latencies up to 1 us * 1.02^b. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned b = 0;

	for (double limit = 1000.0; limit < (double)ns && b < NR_BUCKETS - 1; limit *= 1.02)
		b++;
	return b;
}

static void submit(struct slot *slot);

static void done(struct iscsi_context *ctx, int status, void *command_data, void *arg)
{
	struct slot *slot = arg;
	struct session *s = slot->session;
	struct scsi_task *task = command_data;

	(void)ctx;
	s->in_flight--;
	if (status != SCSI_STATUS_GOOD) {
		/* the first command after a login may be answered by a unit attention */
		bool again = status == SCSI_STATUS_CHECK_CONDITION && task &&
			task->sense.key == SCSI_SENSE_UNIT_ATTENTION;
		if (!again)
			s->error = "the target refused a request";
	} else {
		s->last_ns = now_ns();
		uint64_t ns = s->last_ns - slot->start_ns;
		s->ops++;
		s->total_ns += ns;
		s->buckets[bucket_of(ns)]++;
	}
	scsi_free_scsi_task(task);
	submit(slot);
}

static bool finished(const struct session *s)
{
	return s->error || (cfg.seconds ? now_ns() >= s->end_ns : s->next >= s->nr);
}

static void submit(struct slot *slot)
{
	struct session *s = slot->session;

	if (finished(s))
		return;
	uint64_t blk = s->first + (cfg.random ? random_u64(&s->rng) : s->next) % s->nr;
	s->next++;
	uint64_t lba = (cfg.offset + blk * cfg.block) / s->lba_bytes;
	slot->start_ns = now_ns();
	struct scsi_task *task = cfg.write ?
		iscsi_write16_iov_task(s->ctx, s->lun, lba, NULL, (uint32_t)cfg.block,
			(int)s->lba_bytes, 0, 0, 0, 0, 0, done, slot, &slot->iov, 1) :
		iscsi_read16_iov_task(s->ctx, s->lun, lba, (uint32_t)cfg.block, (int)s->lba_bytes, 0, 0,
			0, 0, 0, done, slot, &slot->iov, 1);
	if (!task)
		s->error = "out of memory";
	else
		s->in_flight++;
}

static int session_open(struct session *s)
{
	struct iscsi_url *url;
	struct scsi_task *task;

	s->ctx = iscsi_create_context(cfg.initiator);
	url = s->ctx ? iscsi_parse_full_url(s->ctx, cfg.url) : NULL;
	if (!url)
		return -EINVAL;
	s->lun = url->lun;
	iscsi_set_session_type(s->ctx, ISCSI_SESSION_NORMAL);
	iscsi_set_header_digest(s->ctx, ISCSI_HEADER_DIGEST_NONE);
	int err = iscsi_set_targetname(s->ctx, url->target) ||
		iscsi_full_connect_sync(s->ctx, url->portal, url->lun);
	iscsi_destroy_url(url);
	task = err ? NULL : iscsi_readcapacity16_sync(s->ctx, s->lun);
	struct scsi_readcapacity16 *cap = task ? scsi_datain_unmarshall(task) : NULL;
	if (cap)
		s->lba_bytes = cap->block_length;
	if (task)
		scsi_free_scsi_task(task);
	return s->lba_bytes && cfg.block % s->lba_bytes == 0 ? 0 : -EIO;
}

static int slots_new(struct session *s)
{
	s->slots = calloc(s->nr_slots, sizeof(*s->slots));
	for (uint64_t i = 0; s->slots && i < s->nr_slots; i++) {
		struct slot *slot = &s->slots[i];
		slot->session = s;
		slot->iov.iov_base = aligned_alloc(4096, (cfg.block + 4095) & ~4095ull);
		slot->iov.iov_len = cfg.block;
		if (!slot->iov.iov_base)
			return -ENOMEM;
		for (uint64_t j = 0; j + 8 <= cfg.block; j += 8) {
			uint64_t word = random_u64(&s->rng);
			memcpy((char *)slot->iov.iov_base + j, &word, 8);
		}
	}
	return s->slots ? 0 : -ENOMEM;
}

static void *session_run(void *arg)
{
	struct session *s = arg;

	s->begin_ns = s->last_ns = now_ns();
	s->end_ns = s->begin_ns + cfg.seconds * 1000000000u;
	for (uint64_t i = 0; i < s->nr_slots; i++)
		submit(&s->slots[i]);
	while (s->in_flight && !s->error) {
		struct pollfd p = { .fd = iscsi_get_fd(s->ctx),
			.events = (short)iscsi_which_events(s->ctx) };
		if (poll(&p, 1, 1000) < 0 && errno != EINTR)
			s->error = strerror(errno);
		else if (iscsi_service(s->ctx, p.revents))
			s->error = "the connection was lost";
	}
	return NULL;
}

/* In us, of all sessions together. */
static double percentile(const struct session *sessions, uint64_t ops, double share)
{
	uint64_t seen = 0;
	double limit = 1.0;

	for (unsigned b = 0; b < NR_BUCKETS; b++, limit *= 1.02) {
		for (uint64_t i = 0; i < cfg.sessions; i++)
			seen += sessions[i].buckets[b];
		if ((double)seen >= (double)ops * share)
			break;
	}
	return limit;
}

static int report(const struct session *sessions)
{
	uint64_t ops = 0, total_ns = 0, begin_ns = UINT64_MAX, last_ns = 0;

	for (uint64_t i = 0; i < cfg.sessions; i++) {
		const struct session *s = &sessions[i];
		if (s->error) {
			fprintf(stderr, "rawio: %s: %s\n", cfg.url, s->error);
			return 1;
		}
		ops += s->ops;
		total_ns += s->total_ns;
		begin_ns = s->begin_ns < begin_ns ? s->begin_ns : begin_ns;
		last_ns = s->last_ns > last_ns ? s->last_ns : last_ns;
	}
	double secs = (double)(last_ns - begin_ns) / 1e9;
	if (!ops || secs <= 0) {
		fprintf(stderr, "rawio: %s: nothing was done\n", cfg.url);
		return 1;
	}
	printf("{\"ops_per_s\": %.1f, \"bytes_per_s\": %.0f, \"mean_us\": %.1f, \"p99_us\": %.1f}\n",
		(double)ops / secs, (double)ops * (double)cfg.block / secs,
		(double)total_ns / (double)ops / 1000.0, percentile(sessions, ops, 0.99));
	return 0;
}

static int number(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' ? -EINVAL : 0;
}

static int parse(int argc, char **argv)
{
	static const struct option longopts[] = { { "write", 0, NULL, 'w' }, { "random", 0, NULL, 'r' },
		{ "block", 1, NULL, 'b' }, { "depth", 1, NULL, 'd' }, { "sessions", 1, NULL, 's' },
		{ "seconds", 1, NULL, 't' }, { "size", 1, NULL, 'S' }, { "offset", 1, NULL, 'o' },
		{ "initiator", 1, NULL, 'i' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	int c, err = 0;

	while (!err && (c = getopt_long(argc, argv, "wrb:d:s:t:S:o:i:h", longopts, NULL)) != -1) {
		switch (c) {
		case 'w': cfg.write = true; break;
		case 'r': cfg.random = true; break;
		case 'b': err = number(optarg, &cfg.block); break;
		case 'd': err = number(optarg, &cfg.depth); break;
		case 's': err = number(optarg, &cfg.sessions); break;
		case 't': err = number(optarg, &cfg.seconds); break;
		case 'S': err = number(optarg, &cfg.size); break;
		case 'o': err = number(optarg, &cfg.offset); break;
		case 'i': cfg.initiator = optarg; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: err = -EINVAL;
		}
	}
	if (err || argc - optind != 1 || !cfg.block || !cfg.depth || !cfg.sessions ||
		cfg.block > 16 << 20 || cfg.depth > 1024 || cfg.sessions > MAX_SESSIONS ||
		cfg.size / cfg.block < cfg.sessions)
		return -EINVAL;
	cfg.url = argv[optind];
	if (cfg.sessions > cfg.depth)
		cfg.sessions = cfg.depth;
	return 0;
}

int main(int argc, char **argv)
{
	static struct session sessions[MAX_SESSIONS];

	if (parse(argc, argv)) {
		fputs("rawio: wrong usage; see rawio --help\n", stderr);
		return 2;
	}
	for (uint64_t i = 0; i < cfg.sessions; i++) {
		struct session *s = &sessions[i];
		s->nr = cfg.size / cfg.block / cfg.sessions;
		s->first = i * s->nr;
		s->rng = now_ns() ^ (uint64_t)getpid() << 32 ^ (i + 1) * 0x9e3779b97f4a7c15u;
		s->nr_slots = cfg.depth / cfg.sessions + (i < cfg.depth % cfg.sessions);
		int err = session_open(s);
		if (err) {
			fprintf(stderr, "rawio: %s: %s\n", cfg.url,
				s->ctx ? iscsi_get_error(s->ctx) : "no context");
			return 1;
		}
		if (slots_new(s)) {
			fputs("rawio: out of memory\n", stderr);
			return 1;
		}
	}
	for (uint64_t i = 0; i < cfg.sessions; i++)
		if (pthread_create(&sessions[i].thread, NULL, session_run, &sessions[i]))
			return 1;
	for (uint64_t i = 0; i < cfg.sessions; i++)
		pthread_join(sessions[i].thread, NULL);
	return report(sessions);
}
