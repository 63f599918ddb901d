/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes images where they belong: sorted, neighbours in one request, many requests in flight. */
#include "journal/journal_internal.h"

#include <errno.h>
#include <stdlib.h>

int jnl_inplace_new(struct jnl *jnl)
{
	list_init(&jnl->ip.queue);
	jnl->ip.ios = calloc(JNL_INPLACE_IOS, sizeof(*jnl->ip.ios));
	return jnl->ip.ios ? 0 : -ENOMEM;
}

void jnl_inplace_free(struct jnl *jnl)
{
	free(jnl->ip.ios);
}

void jnl_inplace_abandon(struct jnl *jnl)
{
	for (unsigned i = 0; jnl->ip.ios && i < JNL_INPLACE_IOS; i++) {
		struct jnl_ip_io *ip = &jnl->ip.ios[i];

		for (uint32_t n = 0; ip->busy && n < ip->nr; n++) {
			if (ip->imgs[n]->dropped)
				jnl_img_free(jnl, ip->imgs[n]);
		}
		ip->busy = false;
	}
}

/* Moves the merged content of two sorted lists to dst, which is empty. */
static void merge(struct list *dst, struct list *a, struct list *b)
{
	while (!list_empty(a) && !list_empty(b)) {
		struct jnl_img *x = list_entry(a->next, struct jnl_img, ip_link);
		struct jnl_img *y = list_entry(b->next, struct jnl_img, ip_link);
		struct list *n = jnl_img_blk(y) < jnl_img_blk(x) ? b->next : a->next;

		list_del(n);
		list_add_tail(dst, n);
	}
	list_splice_tail(dst, a);
	list_splice_tail(dst, b);
}

/* Bottom-up merge sort: bins[i] is empty or holds 2^i images. Needs no memory. */
static void sort(struct list *list)
{
	struct list bins[40], cur, out;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bins); i++)
		list_init(&bins[i]);
	while (!list_empty(list)) {
		struct list *n = list->next;

		list_del(n);
		list_init(&cur);
		list_add_tail(&cur, n);
		for (i = 0; !list_empty(&bins[i]); i++) {
			list_init(&out);
			merge(&out, &bins[i], &cur);
			list_splice_tail(&cur, &out);
		}
		list_splice_tail(&bins[i], &cur);
	}
	for (i = 0; i < ARRAY_SIZE(bins); i++) {
		list_init(&out);
		merge(&out, list, &bins[i]);
		list_splice_tail(list, &out);
	}
}

static void on_written(struct jnl_io *io, int status);

static void submit_run(struct jnl *jnl, struct jnl_ip_io *ip)
{
	struct list *queue = &jnl->ip.queue;
	uint64_t first = jnl_img_blk(list_entry(queue->next, struct jnl_img, ip_link));

	ip->nr = 0;
	while (!list_empty(queue) && ip->nr < JNL_IO_BLKS) {
		struct jnl_img *img = list_entry(queue->next, struct jnl_img, ip_link);

		if (jnl_img_blk(img) != first + ip->nr)
			break;
		list_del(&img->ip_link);
		img->in_flight = true;
		ip->imgs[ip->nr] = img;
		ip->iov[ip->nr] = (struct iovec){ img->data, JNL_BLOCK_BYTES };
		ip->nr++;
	}
	ip->busy = true;
	jnl->ip.busy++;
	ip->io.req = (struct bdev_req){
		.op = BDEV_WRITE,
		.off_bytes = first * JNL_BLOCK_BYTES,
		.len_bytes = (uint64_t)ip->nr * JNL_BLOCK_BYTES,
		.iov = ip->iov,
		.nr_iov = (int)ip->nr,
	};
	jnl_submit(jnl, &ip->io, on_written);
}

static void pump(struct jnl *jnl)
{
	for (unsigned i = 0; i < JNL_INPLACE_IOS && !jnl->error; i++) {
		if (list_empty(&jnl->ip.queue))
			break;
		if (!jnl->ip.ios[i].busy)
			submit_run(jnl, &jnl->ip.ios[i]);
	}
	if (!jnl->error && list_empty(&jnl->ip.queue) && jnl->ip.busy == 0)
		jnl->ip.done(jnl);
}

static void on_written(struct jnl_io *io, int status)
{
	struct jnl_ip_io *ip = container_of(io, struct jnl_ip_io, io);
	struct jnl *jnl = io->jnl;

	if (status) {
		jnl_fail(jnl, status);
		return;
	}
	for (uint32_t i = 0; i < ip->nr; i++) {
		struct jnl_img *img = ip->imgs[i];

		img->in_flight = false;
		if (img->dropped)
			jnl_img_free(jnl, img);
	}
	jnl->stats.checkpoint_blks += ip->nr;
	ip->busy = false;
	jnl->ip.busy--;
	pump(jnl);
}

void jnl_inplace_start(struct jnl *jnl, void (*done)(struct jnl *jnl))
{
	assert(jnl->ip.busy == 0);
	jnl->ip.done = done;
	sort(&jnl->ip.queue);
	pump(jnl);
}
