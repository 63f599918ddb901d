/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps of allocation groups, 64 bits at a time. */
#include <string.h>

#include "csvfs/core/alloc_internal.h"

static uint64_t used_word(const struct bitmap_view *view, uint32_t i)
{
	struct le64 w, hidden = { 0 };

	memcpy(&w, view->bits + i * 8, 8);
	if (view->shadow)
		memcpy(&hidden, view->shadow + i * 8, 8);
	return le64_get(w) | le64_get(hidden);
}

uint32_t csv_bitmap_next_free(const struct bitmap_view *view, uint32_t from, uint32_t end)
{
	while (from < end) {
		uint64_t w = ~used_word(view, from / 64) >> from % 64;

		if (w) {
			from += __builtin_ctzll(w);
			return MIN(from, end);
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

uint32_t csv_bitmap_next_used(const struct bitmap_view *view, uint32_t from, uint32_t end)
{
	while (from < end) {
		uint64_t w = used_word(view, from / 64) >> from % 64;

		if (w) {
			from += __builtin_ctzll(w);
			return MIN(from, end);
		}
		from = (from / 64 + 1) * 64;
	}
	return end;
}

bool csv_bitmap_set(uint8_t *bits, uint32_t bit, uint32_t nr, bool used)
{
	struct bitmap_view view = { .bits = bits };
	uint32_t end = bit + nr;

	if (used ? csv_bitmap_next_used(&view, bit, end) != end
		 : csv_bitmap_next_free(&view, bit, end) != end)
		return false;
	for (; bit < end && bit % 8; bit++)
		bits[bit / 8] ^= 1u << bit % 8;
	memset(bits + bit / 8, used ? 0xff : 0, (end - bit) / 8);
	for (bit = MAX(bit, ALIGN_DOWN(end, 8)); bit < end; bit++)
		bits[bit / 8] ^= 1u << bit % 8;
	return true;
}
