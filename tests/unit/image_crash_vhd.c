/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* Power cuts between the steps of a VHD's block allocation. */
#include "tests/unit/image_crash.h"

int main(void)
{
	/* 22 blocks, the last one not whole */
	struct image_info spec = { .format = IMAGE_VHD, .size_bytes = (1400 << 10) + 512,
		.sector_bytes = 512, .block_bytes = 64 << 10 };

	image_crash("vhd", &spec, 5 << 19, 1, 10, 2);
	return 0;
}
