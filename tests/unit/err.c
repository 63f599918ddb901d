/* libs: util */
/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>

#include "tests/unit/test.h"

int main(void)
{
	/* Each private code has a text of its own and an errno that applications know. */
	for (int a = ERR_FIRST; a < ERR_LAST; a++) {
		CHECK(err_str(-a)[0] != '\0');
		CHECK(strcmp(err_str(-a), "unknown error") != 0);
		CHECK(err_to_errno(-a) > 0 && err_to_errno(-a) < 4096);
		for (int b = ERR_FIRST; b < a; b++)
			CHECK(strcmp(err_str(-a), err_str(-b)) != 0);
	}
	CHECK_EQ(err_to_errno(-ERR_CORRUPT), EUCLEAN);
	CHECK_EQ(err_to_errno(-ERR_FENCED), ESHUTDOWN);
	CHECK_EQ(err_to_errno(-ERR_STALE), ESTALE);
	CHECK_EQ(err_to_errno(-ERR_KEY), EACCES);

	CHECK_EQ(err_to_errno(0), 0);
	CHECK_EQ(err_to_errno(-ENOSPC), ENOSPC);
	CHECK_EQ(err_to_errno(-4095), 4095);
	CHECK(strcmp(err_str(0), "success") == 0);
	CHECK(strcmp(err_str(-ENOENT), "No such file or directory") == 0);

	/* What nobody should pass still gets an answer. */
	const int wrong[] = { 1, ENOENT, INT_MAX, INT_MIN, -4096, -ERR_LAST, -ERR_FIRST + 1,
		ERR_CORRUPT };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		CHECK_EQ(err_to_errno(wrong[i]), EIO);
		CHECK(strcmp(err_str(wrong[i]), "unknown error") == 0);
	}
	return 0;
}
