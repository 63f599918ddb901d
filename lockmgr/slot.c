/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Slots: their bytes, reading all of them, writing one. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lockmgr/lm_internal.h"
#include "util/checked.h"
#include "util/crc32c.h"
#include "util/err.h"

/* ---- bytes ---- */

static uint32_t block_crc(const void *block)
{
	static const struct le32 zero;
	const size_t at = offsetof(struct lm_slot_blk, crc);
	uint32_t crc = crc32c(0, block, at);

	crc = crc32c(crc, &zero, sizeof(zero));
	return crc32c(crc, (const char *)block + at + sizeof(zero),
		LM_SLOT_BYTES - at - sizeof(zero));
}

void slot_encode(const struct lm_slot *slot, const uint8_t uuid[16], uint64_t blkno, void *block)
{
	struct lm_slot_blk *b = block;

	memset(block, 0, LM_SLOT_BYTES);
	b->magic = le32_of(LM_SLOT_MAGIC);
	b->type = le16_of(LM_SLOT_TYPE);
	b->version = le16_of(LM_SLOT_VERSION);
	b->len = le32_of(sizeof(*b));
	b->blkno = le64_of(blkno);
	memcpy(b->uuid, uuid, sizeof(b->uuid));
	b->epoch = le64_of(slot->epoch);
	b->owner = le64_of(slot->node);
	b->generation = le64_of(slot->generation);
	b->node = le32_of(slot->node);
	b->state = le32_of(slot->state);
	b->pr_key = le64_of(slot->pr_key);
	b->beat = le64_of(slot->beat);
	b->time_ns = le64_of(slot->time_ns);
	b->lease_ms = le32_of(slot->lease_ms);
	b->beat_ms = le32_of(slot->beat_ms);
	b->fenced_by = le32_of(slot->fenced_by);
	b->pid = le32_of(slot->pid);
	b->pid_start = le64_of(slot->pid_start);
	b->pid_ns = le64_of(slot->pid_ns);
	memcpy(b->boot_id, slot->boot_id, sizeof(b->boot_id));
	memcpy(b->name, slot->name, sizeof(b->name));
	for (uint32_t node = 1; node <= LM_MAX_NODES; node++)
		b->fenced_gen[node - 1] = le64_of(slot->fenced_gen[node]);
	b->crc = le32_of(block_crc(block));
}

static bool is_zero(const void *block)
{
	const char *p = block;

	return p[0] == 0 && memcmp(p, p + 1, LM_SLOT_BYTES - 1) == 0;
}

int slot_decode(const void *block, const uint8_t uuid[16], uint64_t blkno, uint32_t node,
	struct lm_slot *ret)
{
	const struct lm_slot_blk *b = block;

	if (is_zero(block)) {
		*ret = (struct lm_slot){ .state = LM_SLOT_FREE, .node = node };
		return 0;
	}
	if (le32_get(b->magic) != LM_SLOT_MAGIC || le16_get(b->type) != LM_SLOT_TYPE ||
		le32_get(b->crc) != block_crc(block) || le16_get(b->version) != LM_SLOT_VERSION ||
		le32_get(b->len) < sizeof(*b) || le32_get(b->len) > LM_SLOT_BYTES ||
		le64_get(b->blkno) != blkno || memcmp(b->uuid, uuid, sizeof(b->uuid)) != 0 ||
		le32_get(b->node) != node || le32_get(b->state) > LM_SLOT_FENCED ||
		!memchr(b->name, '\0', sizeof(b->name)))
		return -ERR_CORRUPT;
	*ret = (struct lm_slot){
		.state = (enum lm_slot_state)le32_get(b->state),
		.node = node,
		.generation = le64_get(b->generation),
		.pr_key = le64_get(b->pr_key),
		.epoch = le64_get(b->epoch),
		.beat = le64_get(b->beat),
		.time_ns = le64_get(b->time_ns),
		.lease_ms = le32_get(b->lease_ms),
		.beat_ms = le32_get(b->beat_ms),
		.fenced_by = le32_get(b->fenced_by),
		.pid = le32_get(b->pid),
		.pid_start = le64_get(b->pid_start),
		.pid_ns = le64_get(b->pid_ns),
	};
	memcpy(ret->boot_id, b->boot_id, sizeof(ret->boot_id));
	memcpy(ret->name, b->name, sizeof(ret->name));
	for (uint32_t n = 1; n <= LM_MAX_NODES; n++)
		ret->fenced_gen[n] = le64_get(b->fenced_gen[n - 1]);
	return 0;
}

/* ---- the process behind a slot ---- */

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	buf[n] = '\0';
	return n;
}

/* proc(5): field 22 of /proc/PID/stat; the name before it may hold anything. 0 = not there. */
static uint64_t start_time(uint32_t pid)
{
	char path[40], buf[1024], *p;
	unsigned long long start = 0;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (read_file(path, buf, sizeof(buf)) <= 0 || !(p = strrchr(buf, ')')))
		return 0;
	if (sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d "
			  "%*d %*d %llu",
		    &start) != 1)
		return 0;
	return start;
}

static void boot_id(uint8_t ret[16])
{
	char buf[64];
	unsigned int byte;
	size_t n = 0;

	memset(ret, 0, 16);
	if (read_file("/proc/sys/kernel/random/boot_id", buf, sizeof(buf)) <= 0)
		return;
	for (const char *p = buf; *p && p[1] && n < 16;) {
		if (*p == '-') {
			p++;
			continue;
		}
		if (sscanf(p, "%2x", &byte) != 1)
			break;
		ret[n++] = (uint8_t)byte;
		p += 2;
	}
}

void slot_set_process(struct lm_slot *slot)
{
	struct stat st;

	slot->pid = (uint32_t)getpid();
	slot->pid_start = start_time(slot->pid);
	slot->pid_ns = stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
	boot_id(slot->boot_id);
}

bool slot_process_is_dead(const struct lm_slot *slot)
{
	static const uint8_t none[16];
	struct lm_slot mine = { 0 };

	slot_set_process(&mine);
	if (memcmp(mine.boot_id, none, 16) == 0 || memcmp(mine.boot_id, slot->boot_id, 16) != 0 ||
		mine.pid_ns == 0 || mine.pid_ns != slot->pid_ns || slot->pid == 0 ||
		mine.pid_start == 0 || slot->pid_start == 0)
		return false;
	if (slot->pid == mine.pid && slot->pid_start == mine.pid_start)
		return false;
	if (kill((pid_t)slot->pid, 0) < 0 && errno == ESRCH)
		return true;
	return start_time(slot->pid) != slot->pid_start;
}

/* ---- the table ---- */

uint64_t lm_slot_blk(const struct lm *lm, uint32_t node)
{
	return lm->cfg.slot_blk + node - 1;
}

int lm_table_init(struct lm *lm)
{
	struct lm_table *t = &lm->table;

	list_init(&t->waits);
	list_init(&t->next);
	t->buf = aligned_alloc(LM_SLOT_BYTES, LM_TABLE_BYTES);
	return t->buf ? 0 : -ENOMEM;
}

void lm_table_done(struct lm *lm)
{
	free(lm->table.buf);
}

static void take_slot(struct lm *lm, uint32_t node, uint64_t now_ns, bool was_away)
{
	struct lm_seen *seen = &lm->table.nodes[node];
	const struct lm_slot_blk *b = (const void *)((const char *)lm->table.buf +
		(size_t)(node - 1) * LM_SLOT_BYTES);
	uint64_t old_beat = seen->slot.beat, old_gen = seen->slot.generation;
	uint32_t crc = le32_get(b->crc);
	enum lm_slot_state old_state = seen->slot.state;
	bool old_corrupt = seen->corrupt;
	struct lm_slot slot;

	seen->corrupt = slot_decode(b, lm->cfg.uuid, lm_slot_blk(lm, node), node, &slot) != 0;
	if (!seen->corrupt)
		seen->slot = slot;
	seen->slot.node = node;
	if (seen->change_ns == 0 || was_away || crc != seen->crc || old_corrupt != seen->corrupt ||
		old_beat != seen->slot.beat || old_gen != seen->slot.generation ||
		old_state != seen->slot.state)
		seen->change_ns = now_ns;
	seen->crc = crc;
}

static void begin(struct lm *lm);

static void table_done(struct lm_io *io, int status)
{
	struct lm *lm = container_of(io, struct lm, table.io);
	struct lm_table *t = &lm->table;
	struct list batch = LIST_INIT(batch);
	uint64_t now_ns = clock_mono_ns();

	if (!status) {
		/* Who has not looked for long cannot say that a beat stood still meanwhile. */
		uint64_t limit_ns = MAX(3ull * lm->beat_ms, 1000) * LM_NS_PER_MS;
		bool was_away = lm->read_ok_ns && now_ns - lm->read_ok_ns > limit_ns;

		for (uint32_t node = 1; node <= t->nr_reading; node++)
			take_slot(lm, node, now_ns, was_away);
		t->start_ns = t->begin_ns;
		lm->read_ok_ns = now_ns;
	}
	list_splice_tail(&batch, &t->waits);
	if (!list_empty(&t->next)) {
		list_splice_tail(&t->waits, &t->next);
		begin(lm);
	}
	while (!list_empty(&batch)) {
		struct lm_table_wait *wait = list_entry(batch.next, struct lm_table_wait, link);

		list_del(&wait->link);
		wait->queued = false;
		wait->fn(wait, status);
	}
}

static uint32_t nr_known(const struct lm *lm)
{
	uint32_t node;

	for (node = LM_MAX_NODES; node > lm->node; node--)
		if (lm->table.nodes[node].slot.state != LM_SLOT_FREE ||
			lm->table.nodes[node].corrupt || lm->elect.members[node].present)
			break;
	return node;
}

static void begin(struct lm *lm)
{
	struct lm_table *t = &lm->table;
	struct list *pos;

	t->nr_reading = nr_known(lm);
	list_for_each(pos, &t->waits)
		if (!list_entry(pos, struct lm_table_wait, link)->known_only)
			t->nr_reading = LM_MAX_NODES;
	t->begin_ns = clock_mono_ns();
	lm_io_rw(&t->io, lm->queue, BDEV_READ, t->buf, lm->cfg.slot_blk, t->nr_reading, 0,
		table_done);
}

void lm_table_read(struct lm *lm, struct lm_table_wait *wait)
{
	struct lm_table *t = &lm->table;

	assert(!wait->queued);
	wait->queued = true;
	if (t->io.busy) {
		list_add_tail(&t->next, &wait->link);
		return;
	}
	list_add_tail(&t->waits, &wait->link);
	begin(lm);
}

void lm_table_cancel(struct lm_table_wait *wait)
{
	if (!wait->queued)
		return;
	list_del(&wait->link);
	wait->queued = false;
}

/* ---- writing ---- */

int lm_slot_io_init(struct lm_slot_io *sio)
{
	sio->block = aligned_alloc(LM_SLOT_BYTES, LM_SLOT_BYTES);
	return sio->block ? 0 : -ENOMEM;
}

void lm_slot_io_done(struct lm_slot_io *sio)
{
	free(sio->block);
	sio->block = NULL;
}

void lm_slot_write(struct lm *lm, struct lm_slot_io *sio, const struct lm_slot *slot,
	uint32_t flags, void (*fn)(struct lm_io *io, int status))
{
	uint64_t blk = lm_slot_blk(lm, slot->node);

	assert(!sio->io.busy);
	slot_encode(slot, lm->cfg.uuid, blk, sio->block);
	lm_io_rw(&sio->io, lm->queue, BDEV_WRITE, sio->block, blk, 1, flags, fn);
}
