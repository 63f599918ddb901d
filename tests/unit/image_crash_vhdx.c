/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: util blockdev */
/* Power cuts between the steps of a VHDX's transactions: log, headers, BAT. */
#include "tests/unit/image_crash.h"

int main(void)
{
	/* 5 blocks, the last one not whole */
	struct image_info spec = { .format = IMAGE_VHDX, .size_bytes = (4200 << 10),
		.sector_bytes = 512, .block_bytes = 1 << 20 };

	image_crash("vhdx", &spec, 20 << 20, 1, 8, 1);
	return 0;
}
