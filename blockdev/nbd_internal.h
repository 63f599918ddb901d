/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The NBD backend (libnbd). One connection (handle) for each queue.
 *
 *   nbd.c       the ops: open, queues, the life of a queue's connection
 *   nbd_cfg.c   where the server is and how to speak to it
 *   nbd_conn.c  a connection: connect, negotiate, drop; event-driven or polled
 *   nbd_io.c    bdev_io to NBD command and back
 *
 * N1  A handle lives for one connection. When that is lost the handle is closed, which forgets its
 *     commands without calling back, and what had no answer goes back by bdev_queue_requeue_all().
 * N2  libnbd's callbacks run under the handle's lock: they only put the io on queue->answered.
 * N3  TCP sockets have SO_LINGER 0: closing one throws away what the kernel has not sent yet, so
 *     that no write of a lost connection, or past the write deadline, reaches the server later.
 *     NBD has no way to stop what the server already has; the lease's margin covers that.
 * N4  NBD has no keepalive of its own: TCP's tells a dead host within DEAD_MS. A server that hangs
 *     with its host alive is waited for, up to STALL_MS.
 */
#ifndef BLOCKDEV_NBD_INTERNAL_H
#define BLOCKDEV_NBD_INTERNAL_H

#include <libnbd.h>
#include <sys/socket.h>

#include "blockdev/bdev_internal.h"

#define NBC_MAX_ADDRESSES 8
#define NBC_MAX_IO_BYTES (2u << 20)
#define NBC_MAX_ZERO_BYTES (256ull << 20)

#define NBC_TICK_MS 500
#define NBC_ATTEMPT_MS 5000
#define NBC_DEAD_MS 6000
#define NBC_STALL_MS 60000

struct nbc_cfg {
	struct {
		struct sockaddr_storage sa;
		socklen_t len;
	} addresses[NBC_MAX_ADDRESSES];
	int nr_addresses;
	char *where; /* "host:port" or the socket's path, for messages */
	char *host, port[8];
	char *export_name, *user, *psk_file, *certificates; /* NULL = libnbd's default */
	bool tls, verify_peer, tcp;
};

/* What the server told in the negotiation. */
struct nbc_info {
	uint64_t size_bytes;
	uint32_t block_bytes, phys_bytes, max_io_bytes, caps;
};

struct nbc_conn {
	const struct nbc_cfg *cfg;
	struct nbd_handle *h; /* NULL = idle */
	bool up;	      /* negotiated */
	int fail;	      /* negative: the connection is to be dropped, and why */
	char why[400];	      /* a part of a sentence, of the last failure */
	int address;
	uint64_t attempt_ns;
	struct nbc_info info;
};

struct nbc_dev {
	struct bdev base;
	struct nbc_cfg cfg;
	struct nbc_info info;
};

struct nbc_queue {
	struct bdev_queue base;
	struct nbc_conn conn;
	struct list flight, answered, delayed; /* nbc_io by base.node */
	bool told_up, new_socket;
	uint32_t backoff_ms, stall_ms;
	uint64_t up_ns;
	char told[400];
	struct ev_io io;
	struct ev_timer tick, retry, resend;
	struct ev_prepare prepare;
};

struct nbc_io {
	struct bdev_io base;
	int64_t cookie;
	int error; /* errno of the answer */
	uint64_t sent_ns;
	void *bounce; /* the data when there are several iovecs */
};

static inline struct nbc_dev *nbc_dev(struct bdev *bdev)
{
	return container_of(bdev, struct nbc_dev, base);
}

static inline struct nbc_queue *nbc_queue(struct bdev_queue *queue)
{
	return container_of(queue, struct nbc_queue, base);
}

static inline struct nbc_io *nbc_io(struct bdev_io *io)
{
	return container_of(io, struct nbc_io, base);
}

static inline struct nbc_io *nbc_first_io(struct list *ios)
{
	return nbc_io(list_entry(ios->next, struct bdev_io, node));
}

/* ---- nbd_cfg.c ---- */
int nbc_cfg_make(const struct bdev *bdev, const struct bdev_uri *uri, struct nbc_cfg *ret_cfg,
	char **ret_error);
void nbc_cfg_done(struct nbc_cfg *cfg);

/* ---- nbd_conn.c ---- */
void nbc_conn_init(struct nbc_conn *conn, const struct nbc_cfg *cfg);
/* Begins to connect; failures show in conn->fail. */
void nbc_conn_start(struct nbc_conn *conn);
int nbc_conn_fail(struct nbc_conn *conn, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Fails with what libnbd has just complained about. */
void nbc_conn_fail_libnbd(struct nbc_conn *conn);
void nbc_conn_drop(struct nbc_conn *conn);
/* EV_READ, EV_WRITE of the socket happened. The caller looks at conn->fail afterwards. */
void nbc_conn_service(struct nbc_conn *conn, int revents);
/* Timeout of the attempt; at least twice a second. */
void nbc_conn_tick(struct nbc_conn *conn, uint64_t now_ns);
/* The socket's descriptor and the events to wait for; -1 = none. */
int nbc_conn_socket(struct nbc_conn *conn, int *ret_events);
/* Connects to each address in turn until one works, without the loop. */
int nbc_conn_open(struct nbc_conn *conn, uint64_t deadline_ns);
/* Says goodbye and drops. */
void nbc_conn_close(struct nbc_conn *conn, uint64_t deadline_ns);

/* ---- nbd_io.c ---- */
void nbc_io_send(struct nbc_queue *queue, struct nbc_io *io);
/* Sends io once more after ms. */
void nbc_io_later(struct nbc_queue *queue, struct nbc_io *io, unsigned int ms);
void nbc_io_forget_bounce(struct nbc_io *io);
/* Ends what was answered. What a dying connection ended with an error stays, to be sent again. */
void nbc_run_answers(struct nbc_queue *queue);

#endif
