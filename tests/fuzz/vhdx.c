/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile VHDX: see disk_image.h. */
#include "blockdev/vhdx_internal.h"
#include "tests/fuzz/disk_image.h"

static const struct image_info specs[] = {
	{ .format = IMAGE_VHDX, .size_bytes = 5000 * 512, .block_bytes = 1 << 20 },
	{ .format = IMAGE_VHDX, .size_bytes = 600 * 4096, .block_bytes = 1 << 20, .sector_bytes = 4096,
		.fixed = true },
};

static void seal_at(uint8_t *at, size_t len)
{
	struct le32 sum = le32_of(vhdx_checksum(at, len, 4));

	memcpy(at + 4, &sum, 4);
}

static void seal(uint8_t *image, uint64_t size)
{
	for (unsigned int i = 0; i < 2; i++) {
		seal_at(image + VHDX_HEADER_OFF(i), VHDX_PAGE);
		seal_at(image + VHDX_REGIONS_OFF(i), VHDX_TABLE_BYTES);
	}
	for (uint64_t off = VHDX_MB; off < 2 * VHDX_MB; off += VHDX_PAGE) {
		const struct vhdx_log_header *h = (const struct vhdx_log_header *)(image + off);
		if (memcmp(h->magic, "loge", 4) == 0 && le32_get(h->bytes) >= VHDX_PAGE &&
			le32_get(h->bytes) <= 2 * VHDX_MB - off)
			seal_at(image + off, le32_get(h->bytes));
	}
}

const struct disk_format disk_format = {
	.scheme = "vhdx",
	.device_bytes = 8 << 20,
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	/* headers, regions, log, metadata table and items, BAT */
	.areas = { { 0x10000, 80 }, { 0x20000, 80 }, { 0x30000, 96 }, { 0x40000, 96 },
		{ 0x100000, 128 }, { 0x101000, 4096 }, { 0x102000, 128 }, { 0x103000, 4096 },
		{ 0x200000, 256 }, { 0x210000, 64 }, { 0x300000, 64 } },
	.seal = seal,
	.dirty_log = true,
};
