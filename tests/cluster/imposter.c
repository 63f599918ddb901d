/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Somebody with the volume's key says HELLO to the coordinator: imposter ADDRESS PORT KEYFILE UUID NODE
 * GENERATION. Prints "answered STATUS" or "refused", and why. Exit status: 0 one of these, 2 neither.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uuid/uuid.h>

#include "csvfs/proto/proto.h"
#include "csvfs/volume/key.h"
#include "util/err.h"
#include "util/stream.h"

static bool over;

static void on_open(struct stream *stream, void *arg)
{
	struct csvp_msg *msg = arg;

	if (stream_send(stream, msg->data, msg->len))
		exit(2);
}

static void on_frame(struct stream *stream, void *arg, const void *frame, size_t len)
{
	struct csvp_in in;

	if (csvp_open(&in, frame, (uint32_t)len) || le16_get(in.hdr->op) != CSVP_HELLO)
		exit(2);
	printf("answered %d\n", csvp_status(in.hdr));
	over = true;
	stream_free(stream);
}

static void on_close(struct stream *stream, void *arg, int err)
{
	printf("refused: %s\n", err_str(err));
	over = true;
}

int main(int argc, char **argv)
{
	static const struct stream_ops ops = { on_open, on_frame, on_close };
	uint8_t key[KEY_BYTES];
	struct csvp_msg msg;
	struct stream *stream;
	struct stream_cfg cfg = { .psk = key };

	if (argc != 7 || key_read(argv[3], key) || loop_new(&cfg.loop))
		return 2;
	cfg.identity = argv[4];
	csvp_begin(&msg, CSVP_HELLO, 0, 0, 1);
	struct csvp_hello *h = csvp_put(&msg, sizeof(*h));
	if (!h || uuid_parse(argv[4], h->uuid))
		return 2;
	h->node = le32_of((uint32_t)strtoul(argv[5], NULL, 10));
	h->generation = le64_of(strtoull(argv[6], NULL, 10));
	if (csvp_finish(&msg) ||
		stream_connect(&cfg, argv[1], (uint16_t)strtoul(argv[2], NULL, 10), &ops, &msg, &stream))
		return 2;
	while (!over)
		loop_run_once(cfg.loop, true);
	csvp_free(&msg);
	loop_free(cfg.loop);
	return 0;
}
