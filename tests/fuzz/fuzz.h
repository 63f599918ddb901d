/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a fuzz target gives, and what it may use. Targets are made for libFuzzer's entry, and run with
 * driver.c where that is not there. See README.md.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FUZZ_MAX_BYTES 65536u /* of an input */

/* ---- what each target gives ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Calls add for each input to begin with. */
void fuzz_seeds(void (*add)(const void *data, size_t len));

/* Words that inputs are made of; ends with NULL. A target of binary inputs has none. */
extern const char *const fuzz_words[];

/* ---- numbers out of an input ---- */

struct fuzz_in {
	const uint8_t *pos;
	size_t left;
};

/* The next little-endian number of up to 8 bytes; zeroes follow the end. */
static inline uint64_t fuzz_num(struct fuzz_in *in, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes && in->left > 0; i++, in->pos++, in->left--)
		n |= (uint64_t)*in->pos << (8 * i);
	return n;
}

/* The next len bytes, or what there is of them: *ret_len. */
static inline const uint8_t *fuzz_bytes(struct fuzz_in *in, size_t len, size_t *ret_len)
{
	const uint8_t *at = in->pos;

	*ret_len = len < in->left ? len : in->left;
	in->pos += *ret_len;
	in->left -= *ret_len;
	return at;
}

/* ---- inputs built by code ---- */

struct fuzz_out {
	uint8_t data[FUZZ_MAX_BYTES];
	size_t len;
};

static inline void fuzz_put(struct fuzz_out *out, uint64_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes && out->len < sizeof(out->data); i++)
		out->data[out->len++] = (uint8_t)(n >> (8 * i));
}

static inline void fuzz_put_bytes(struct fuzz_out *out, const void *bytes, size_t len)
{
	if (len > sizeof(out->data) - out->len)
		len = sizeof(out->data) - out->len;
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
}

/* Says why and ends the process as a crash does, so that the input is shown. */
void fuzz_fail(const char *why) __attribute__((noreturn));

#endif
