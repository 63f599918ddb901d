/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VHDX: the log. See vhdx_internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "blockdev/vhdx_internal.h"
#include "util/crc32c.h"

#define DESC_FIRST_PAGE ((VHDX_PAGE - sizeof(struct vhdx_log_header)) / sizeof(struct vhdx_desc))

uint32_t vhdx_checksum(const void *data, size_t len, size_t sum_off)
{
	static const uint8_t zero[4];
	const uint8_t *p = data;
	uint32_t crc = crc32c(0, p, sum_off);

	crc = crc32c(crc, zero, 4);
	return crc32c(crc, p + sum_off + 4, len - sum_off - 4);
}

void vhdx_new_guid(struct vhdx_guid *guid)
{
	/* Cannot fail for so few bytes. */
	if (getrandom(guid, sizeof(*guid), 0) != sizeof(*guid))
		abort();
	guid->b[7] = (uint8_t)((guid->b[7] & 0x0f) | 0x40); /* RFC 9562: version 4 */
	guid->b[8] = (uint8_t)((guid->b[8] & 0x3f) | 0x80);
}

/* ---- reading ---- */

struct entry {
	uint32_t off, bytes, tail;
	uint64_t seq;
};

struct scan {
	struct vhdx *v;
	uint8_t *log; /* twice, one behind the other: entries go round */
	uint32_t bytes;
	uint64_t budget; /* of bytes whose checksum may still be computed */
	struct entry *entries;
	size_t nr;
};

/* Pages of header and descriptors. */
static uint64_t desc_pages(uint32_t nr)
{
	return DIV_ROUND_UP(sizeof(struct vhdx_log_header) + (uint64_t)nr * sizeof(struct vhdx_desc),
		VHDX_PAGE);
}

/* Pages of data that follow. */
static uint64_t nr_data(const struct vhdx_log_header *h)
{
	const struct vhdx_desc *desc = (const struct vhdx_desc *)(h + 1);
	uint64_t n = 0;

	for (uint32_t i = 0; i < le32_get(h->nr_desc); i++)
		n += memcmp(desc[i].magic, "desc", 4) == 0;
	return n;
}

static bool entry_ok(struct scan *s, uint32_t off)
{
	const struct vhdx_log_header *h = (const struct vhdx_log_header *)(s->log + off);
	uint32_t bytes = le32_get(h->bytes);

	if (memcmp(h->magic, "loge", 4) != 0 || bytes == 0 || bytes % VHDX_PAGE || bytes > s->bytes ||
		le64_get(h->sequence) == 0 || le32_get(h->tail) % VHDX_PAGE ||
		le32_get(h->tail) >= s->bytes ||
		memcmp(&h->log_guid, &s->v->header.log_guid, sizeof(h->log_guid)) != 0 ||
		desc_pages(le32_get(h->nr_desc)) > bytes / VHDX_PAGE || bytes > s->budget)
		return false;
	s->budget -= bytes;
	if (le32_get(h->checksum) !=
		vhdx_checksum(h, bytes, offsetof(struct vhdx_log_header, checksum)))
		return false;
	return desc_pages(le32_get(h->nr_desc)) + nr_data(h) <= bytes / VHDX_PAGE;
}

static void find_entries(struct scan *s)
{
	for (uint32_t off = 0; off < s->bytes; off += VHDX_PAGE) {
		const struct vhdx_log_header *h = (const struct vhdx_log_header *)(s->log + off);

		if (entry_ok(s, off))
			s->entries[s->nr++] = (struct entry){ off, le32_get(h->bytes),
				le32_get(h->tail), le64_get(h->sequence) };
	}
}

static const struct entry *entry_at(const struct scan *s, uint32_t off)
{
	size_t lo = 0, hi = s->nr;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (s->entries[mid].off < off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->nr && s->entries[lo].off == off ? &s->entries[lo] : NULL;
}

/* True if the entries from head's tail up to head follow one another; *ret_nr of them. */
static bool is_sequence(const struct scan *s, const struct entry *head, size_t *ret_nr)
{
	const struct entry *e = entry_at(s, head->tail);

	*ret_nr = 1;
	while (e && e != head && e->seq < head->seq && *ret_nr < s->nr) {
		uint64_t seq = e->seq;

		e = entry_at(s, (uint32_t)(((uint64_t)e->off + e->bytes) % s->bytes));
		if (e && e->seq != seq + 1)
			e = NULL;
		++*ret_nr;
	}
	return e == head;
}

/* The sequence that ends with the greatest number. */
static const struct entry *find_head(const struct scan *s, size_t *ret_nr)
{
	const struct entry *best = NULL;

	for (size_t i = 0, nr; i < s->nr; i++) {
		if (best && s->entries[i].seq <= best->seq)
			continue;
		if (is_sequence(s, &s->entries[i], &nr)) {
			best = &s->entries[i];
			*ret_nr = nr;
		}
	}
	return best;
}

/* Not onto the headers, nor the log itself, nor past what the file is to be. */
static bool target_ok(const struct vhdx *v, uint64_t off, uint64_t len, uint64_t file_bytes)
{
	uint64_t log = le64_get(v->header.log_off), log_bytes = le32_get(v->header.log_bytes);

	return len > 0 && off % VHDX_PAGE == 0 && len % VHDX_PAGE == 0 &&
	       off >= VHDX_REGIONS_OFF(0) && range_ok(off, len, file_bytes) &&
	       (off + len <= log || off >= log + log_bytes);
}

static int add_patch(struct vhdx *v, uint64_t off, uint64_t len, const struct vhdx_desc *desc,
	const struct vhdx_data *data)
{
	struct vhdx_patch *p = &v->patches[v->nr_patches];

	*p = (struct vhdx_patch){ off, len, NULL };
	if (data) {
		if (posix_memalign((void **)&p->data, VHDX_PAGE, VHDX_PAGE)) {
			p->data = NULL;
			return -ENOMEM;
		}
		memcpy(p->data, &desc->leading, 8);
		memcpy(p->data + 8, data->data, sizeof(data->data));
		memcpy(p->data + VHDX_PAGE - 4, &desc->trailing, 4);
	}
	v->nr_patches++;
	return 0;
}

static int damaged(char **ret_error)
{
	return bdev_fail(ret_error, -ERR_CORRUPT, "damaged VHDX: a wrong log entry");
}

static int read_entry(struct scan *s, const struct entry *e, uint64_t file_bytes, char **ret_error)
{
	const struct vhdx_log_header *h = (const struct vhdx_log_header *)(s->log + e->off);
	const struct vhdx_desc *desc = (const struct vhdx_desc *)(h + 1);
	const struct vhdx_data *data = (const struct vhdx_data *)(s->log + e->off +
		desc_pages(le32_get(h->nr_desc)) * VHDX_PAGE);
	struct vhdx_patch *more = realloc(s->v->patches,
		(s->v->nr_patches + le32_get(h->nr_desc) + 1) * sizeof(*more));
	int err = 0;

	if (!more)
		return -ENOMEM;
	s->v->patches = more;
	for (uint32_t i = 0; i < le32_get(h->nr_desc) && !err; i++, desc++) {
		bool is_data = memcmp(desc->magic, "desc", 4) == 0;
		uint64_t off = le64_get(desc->off);
		uint64_t len = is_data ? VHDX_PAGE : le64_get(desc->leading);

		if ((!is_data && memcmp(desc->magic, "zero", 4) != 0) ||
			le64_get(desc->sequence) != e->seq || !target_ok(s->v, off, len, file_bytes))
			return damaged(ret_error);
		if (is_data && (memcmp(data->magic, "data", 4) != 0 ||
				       le32_get(data->seq_high) != e->seq >> 32 ||
				       le32_get(data->seq_low) != (uint32_t)e->seq))
			return damaged(ret_error);
		err = add_patch(s->v, off, len, desc, is_data ? data : NULL);
		data += is_data;
	}
	return err;
}

/* ---- replaying ---- */

static int apply(struct vhdx *v, struct bdev_queue *queue, uint64_t file_bytes)
{
	int err = bdev_grow(bdev_queue_bdev(queue), file_bytes);

	for (size_t i = 0; i < v->nr_patches && !err; i++) {
		const struct vhdx_patch *p = &v->patches[i];
		struct bdev_req zero = { .op = BDEV_WRITE_ZEROES, .off_bytes = p->off,
			.len_bytes = p->len };

		err = p->data ? bdev_pwrite(queue, p->data, p->len, p->off) : bdev_sync(queue, &zero);
	}
	return err ? err : bdev_flush_sync(queue);
}

static int replay_head(struct scan *s, const struct entry *head, size_t nr, struct bdev_queue *queue,
	char **ret_error)
{
	const struct vhdx_log_header *h = (const struct vhdx_log_header *)(s->log + head->off);
	struct bdev *lower = bdev_queue_bdev(queue);
	uint64_t size = bdev_geom(lower).size_bytes, last = le64_get(h->last_bytes);
	const struct entry *e = entry_at(s, head->tail);
	int err = 0;

	if (le64_get(h->flushed_bytes) > size)
		return bdev_fail(ret_error, -ERR_CORRUPT,
			"damaged VHDX: cut off, its log speaks of %llu bytes",
			(unsigned long long)le64_get(h->flushed_bytes));
	if (last > VHDX_MAX_MB * VHDX_MB)
		return damaged(ret_error);
	last = MAX(last, size);
	for (size_t i = 0; i < nr && !err; i++) {
		err = read_entry(s, e, last, ret_error);
		e = entry_at(s, (uint32_t)(((uint64_t)e->off + e->bytes) % s->bytes));
	}
	if (err || (atomic_load(&lower->caps) & BDEV_READONLY))
		return err;
	err = apply(s->v, queue, last);
	vhdx_free_patches(s->v);
	return err;
}

int vhdx_replay(struct vhdx *v, struct bdev_queue *queue, char **ret_error)
{
	struct scan s = { .v = v, .bytes = le32_get(v->header.log_bytes), .budget = 2ull << 30 };
	const struct entry *head;
	size_t nr = 0;
	int err = -ENOMEM;

	if (vhdx_guid_is_zero(&v->header.log_guid))
		return 0;
	if (s.bytes > VHDX_MAX_LOG)
		return bdev_fail(ret_error, -ENOTSUP, "a VHDX with a log of %u bytes", s.bytes);
	s.log = malloc(2 * (size_t)s.bytes);
	s.entries = calloc(s.bytes / VHDX_PAGE, sizeof(*s.entries));
	if (!s.log || !s.entries)
		goto out;
	err = bdev_pread(queue, s.log, s.bytes, le64_get(v->header.log_off));
	if (err)
		goto out;
	memcpy(s.log + s.bytes, s.log, s.bytes);
	find_entries(&s);
	head = find_head(&s, &nr);
	v->replayed = head != NULL;
	if (head)
		err = replay_head(&s, head, nr, queue, ret_error);
	if (!err && !(atomic_load(&bdev_queue_bdev(queue)->caps) & BDEV_READONLY)) {
		memset(&v->header.log_guid, 0, sizeof(v->header.log_guid));
		err = vhdx_write_headers(v, queue);
	}
out:
	free(s.log);
	free(s.entries);
	return err;
}

/* ---- writing (X3) ---- */

void vhdx_log_entry(struct vhdx *v, uint64_t file_bytes)
{
	struct vhdx_txn *txn = &v->txn;
	struct vhdx_log_header *h = (struct vhdx_log_header *)txn->log;
	struct vhdx_desc *desc = (struct vhdx_desc *)(h + 1);
	uint32_t bytes = (1 + txn->nr_pages) * VHDX_PAGE;
	uint64_t seq = ++v->log_seq;

	static_assert(VHDX_TXN_PAGES <= DESC_FIRST_PAGE, "");
	if (v->log_at + bytes > le32_get(v->header.log_bytes))
		v->log_at = 0;
	memset(txn->log, 0, VHDX_PAGE);
	*h = (struct vhdx_log_header){ .magic = { 'l', 'o', 'g', 'e' }, .bytes = le32_of(bytes),
		.tail = le32_of(v->log_at), .sequence = le64_of(seq),
		.nr_desc = le32_of(txn->nr_pages), .log_guid = v->header.log_guid,
		.flushed_bytes = le64_of(file_bytes), .last_bytes = le64_of(file_bytes) };
	for (uint32_t i = 0; i < txn->nr_pages; i++) {
		const uint8_t *page = txn->images + (size_t)i * VHDX_PAGE;
		struct vhdx_data *data = (struct vhdx_data *)(txn->log + (size_t)(1 + i) * VHDX_PAGE);

		desc[i] = (struct vhdx_desc){ .magic = { 'd', 'e', 's', 'c' },
			.off = le64_of(v->bat_off + (uint64_t)txn->pages[i] * VHDX_PAGE),
			.sequence = le64_of(seq) };
		memcpy(&desc[i].leading, page, 8);
		memcpy(&desc[i].trailing, page + VHDX_PAGE - 4, 4);
		memcpy(data->magic, "data", 4);
		data->seq_high = le32_of((uint32_t)(seq >> 32));
		data->seq_low = le32_of((uint32_t)seq);
		memcpy(data->data, page + 8, sizeof(data->data));
	}
	h->checksum = le32_of(
		vhdx_checksum(txn->log, bytes, offsetof(struct vhdx_log_header, checksum)));
	txn->log_bytes = bytes;
}
