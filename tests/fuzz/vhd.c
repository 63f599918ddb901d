/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hostile VHD: see disk_image.h. */
#include "blockdev/vhd_internal.h"
#include "tests/fuzz/disk_image.h"

static const struct image_info specs[] = {
	{ .format = IMAGE_VHD, .size_bytes = 1000 * 512, .block_bytes = 64 << 10 },
	{ .format = IMAGE_VHD, .size_bytes = 300 * 512, .fixed = true },
};

/* The parts that are read when it is opened, and where their checksums are. */
static void seal(uint8_t *image, uint64_t size)
{
	static const struct {
		uint32_t off, len, sum;
	} parts[] = { { 0, 512, 0x40 }, { 512, 1024, 0x24 } };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		uint8_t *at = image + parts[i].off;
		struct be32 sum = be32_of(vhd_checksum(at, parts[i].len, parts[i].sum));
		memcpy(at + parts[i].sum, &sum, 4);
	}
	struct be32 sum = be32_of(vhd_checksum(image + size - 512, 512, 0x40));
	memcpy(image + size - 512 + 0x40, &sum, 4);
}

const struct disk_format disk_format = {
	.scheme = "vhd",
	.device_bytes = 1 << 20,
	.specs = specs,
	.nr_specs = ARRAY_SIZE(specs),
	.areas = { { 0, 512 }, { 512, 1024 }, { 1536, 512 }, { -512, 512 } },
	.seal = seal,
};
