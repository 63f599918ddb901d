/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iSCSI backend (libiscsi). One session for each queue, so no lock.
 *
 *   iscsi.c        the ops: open, queues, submit, the keepalive's judgement of what is in flight
 *   iscsi_cfg.c    who we are and where the target is: names, addresses
 *   iscsi_conn.c   a session: connect, log in, drop, keepalive; event-driven or polled
 *   iscsi_setup.c  the commands that follow a login: unit attentions, identity, limits
 *   iscsi_scsi.c   bdev_io to SCSI command and back: sense, retries
 *   iscsi_pr.c     persistent reservations and LUN RESET
 *
 * I1  libiscsi never reconnects or resends. A lost session's context is destroyed, and with it
 *     every buffer reference; what had no answer goes back by bdev_queue_requeue_all().
 * I2  A queue keeps its ISID over reconnects, so it stays the same I_T nexus: the target drops the
 *     old session at the new login (RFC 7143 6.3.5), and registrations stay valid.
 * I3  A context is never destroyed from within iscsi_service(): callbacks only set conn->fail.
 * I4  A task belongs to its isc_io or isc_cmd until its callback ran with an answer of the target.
 *     After a callback with CANCELLED, ERROR or TIMEOUT, or none, the loss of the session frees it
 *     (libiscsi leaves out callbacks when the target has asked for a logout).
 * I5  The socket has SO_LINGER 0: closing it throws away what the kernel has not sent yet, so that
 *     no write of a lost session, or past the write deadline, reaches the target later.
 */
#ifndef BLOCKDEV_ISCSI_INTERNAL_H
#define BLOCKDEV_ISCSI_INTERNAL_H

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>

#include "blockdev/bdev_internal.h"

#define ISC_MAX_PORTALS 8
#define ISC_INLINE_IOV 4
#define ISC_MAX_IO_BYTES (1u << 20)
/* Below 4 GiB for targets that count bytes in 32 bits; the second where the target really writes.
 */
#define ISC_MAX_UNMAP_BYTES (1ull << 30)
#define ISC_MAX_SAME_BYTES (64ull << 20)

#define ISC_TICK_MS 500
#define ISC_ATTEMPT_MS 5000   /* a login with all that belongs to it */
#define ISC_NOP_AFTER_MS 1000 /* nothing received for that long: NOP-Out */
#define ISC_DEAD_MS 5000      /* nothing received for that long after it: the path is down */
#define ISC_PROBE_MS 2000     /* a command that takes longer: ask the LUN for a unit attention */
#define ISC_SUSPECT_MS 3000   /* a command sent before a reset: the target has dropped it */
#define ISC_STALL_MS 60000    /* a command that takes longer on a live path: start over */

struct isc_cfg {
	char portals[ISC_MAX_PORTALS][80]; /* numeric "192.0.2.1:3260", "[::1]:3260" */
	int nr_portals;
	char *target, *user, *password, *initiator; /* user NULL = no CHAP */
	int lun;				    /* as libiscsi wants it (SAM-5 4.7.7) */
	unsigned lun_nr;			    /* as the user wrote it */
};

/* What the setup found out about a logical unit. */
struct isc_lun {
	uint64_t nr_blocks, max_same_blocks;
	uint32_t block_bytes, max_xfer_blocks, max_unmap_blocks, max_unmap_descs;
	uint16_t rotation;
	uint8_t phys_shift;
	bool lbprz, lbpu, lbpws, readonly, dpofua, wce;
	bool has_b0, has_b1, has_b2, has_83;
	bool pr, pr_abort, ptpl;
	uint8_t id[256]; /* VPD page 83h, cut off */
	int id_len;
};

enum isc_state { ISC_IDLE, ISC_CONNECT, ISC_LOGIN, ISC_SETUP, ISC_UP };

struct isc_conn;
struct isc_queue;

/* A command of our own; one at a time in each of these. */
struct isc_cmd {
	struct isc_conn *conn;
	struct scsi_task *task; /* NULL = idle */
	void (*done)(struct isc_cmd *cmd, int status, struct scsi_task *task);
};

struct isc_conn {
	const struct isc_cfg *cfg;
	const char *name;	   /* of the device, for messages */
	struct isc_queue *queue;   /* NULL: the probe of bdev_open() */
	struct iscsi_context *ctx; /* NULL when ISC_IDLE */
	enum isc_state state;
	bool tcp_up, up, logged_out;
	bool new_socket; /* the descriptor may have its old number, but is another */
	int fail;	 /* negative: the session is to be dropped (I3), and why */
	char why[320];	 /* a part of a sentence, of the last failure */
	int portal, nr_redirects;
	uint32_t isid_random;
	uint16_t isid_qualifier;
	uint64_t attempt_ns, rx_ns, nop_ns; /* started, last received, NOP-Out sent (0 = none) */
	struct isc_cmd cmd, probe, bye; /* setup, resize; TEST UNIT READY; unregister at close */
	int step, nr_attentions;
	uint64_t step_at_ns;   /* repeat the step then; 0 = it runs */
	const char *waits_for; /* what the setup waits for, for the message at its timeout */
	struct isc_lun lun;
};

struct isc_dev {
	struct bdev base;
	struct isc_cfg cfg;
	struct isc_lun lun;
	_Atomic bool no_aptpl; /* the target promised APTPL and then refused it */
};

struct isc_queue {
	struct bdev_queue base;
	struct isc_conn conn;
	struct list changes, others, delayed; /* isc_io by base.node; in flight ones in order */
	bool fenced, unregistered, want_capacity;
	uint64_t key; /* that this nexus has registered; 0 = none */
	bool told_up; /* the common code knows that the path is up */
	uint32_t backoff_ms, stall_ms;
	uint64_t up_ns;	   /* when the session came up */
	uint64_t reset_ns; /* of the last sign of a reset; 0 = nothing is suspect */
	uint64_t probe_ns;
	char told[320]; /* the last reason that was logged */
	struct ev_io io;
	struct ev_timer tick, retry, resend;
	struct ev_prepare prepare;
};

struct isc_io {
	struct bdev_io base;
	struct scsi_task *task;
	uint64_t sent_ns, again_ns;
	uint32_t nr_retries;
	bool flushing; /* FUA of a write-zeroes: WRITE SAME is done, its flush under way */
	struct scsi_iovec iov[ISC_INLINE_IOV];
	void *bounce; /* the task's: the data when there are more iovecs than readv() takes */
};

static inline struct isc_dev *isc_dev(struct bdev *bdev)
{
	return container_of(bdev, struct isc_dev, base);
}

static inline struct isc_queue *isc_queue(struct bdev_queue *queue)
{
	return container_of(queue, struct isc_queue, base);
}

static inline struct isc_io *isc_io(struct bdev_io *io)
{
	return container_of(io, struct isc_io, base);
}

/* ---- iscsi_cfg.c ---- */
int isc_cfg_make(const struct bdev *bdev, const struct bdev_uri *uri, struct isc_cfg *ret_cfg,
	char **ret_error);
void isc_cfg_done(struct isc_cfg *cfg);

/* ---- iscsi_conn.c ---- */
void isc_conn_init(struct isc_conn *conn, const struct isc_cfg *cfg, const char *name,
	struct isc_queue *queue);
/* Begins to connect; failures show in conn->fail. */
void isc_conn_start(struct isc_conn *conn);
/* Marks the session as lost (I3). The first reason counts. Returns err. */
int isc_conn_fail(struct isc_conn *conn, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Drops the session: back to ISC_IDLE. conn->why stays. */
void isc_conn_drop(struct isc_conn *conn);
/* poll() events happened (0 = none). The caller looks at conn->fail afterwards. */
void isc_conn_service(struct isc_conn *conn, int revents);
/* Timeouts and keepalive; at least twice a second. */
void isc_conn_tick(struct isc_conn *conn, uint64_t now_ns);
/* Without the loop: waits until *flag, failure or the deadline. Returns 0, conn->fail, -ETIMEDOUT
 */
int isc_conn_wait(struct isc_conn *conn, const bool *flag, uint64_t deadline_ns);
/* Connects by way of each portal until one works. Returns 0, or the last failure's code. */
int isc_conn_open(struct isc_conn *conn, uint64_t deadline_ns);
/* Sends a command of our own; takes the task (NULL = out of memory). out may be NULL. */
void isc_cmd_send(struct isc_cmd *cmd, struct scsi_task *task,
	void (*done)(struct isc_cmd *cmd, int status, struct scsi_task *task));
/* Logs out politely, waiting at most until deadline_ns. */
void isc_conn_logout(struct isc_conn *conn, uint64_t deadline_ns);
/* True for the statuses that mean "no answer" (I4). */
bool isc_no_answer(int status);

/* ---- iscsi_setup.c ---- */
/* Called when logged in: runs the steps, then sets ISC_UP or fails. */
void isc_setup_start(struct isc_conn *conn);
void isc_setup_tick(struct isc_conn *conn, uint64_t now_ns);
/* Nothing if both are the same logical unit, else fails conn. */
void isc_setup_compare(struct isc_conn *conn, const struct isc_lun *known);
int isc_parse_capacity(struct isc_lun *lun, const struct scsi_task *task);
void isc_geom(const struct isc_lun *lun, struct bdev_geom *ret_geom);

/* ---- iscsi_scsi.c ---- */
void isc_io_send(struct isc_queue *queue, struct isc_io *io);
/* The target reports a unit attention (SPC-4 5.14). */
void isc_attention(struct isc_queue *queue, int ascq);

/* ---- iscsi_pr.c ---- */
struct scsi_task *isc_pr_task(struct isc_queue *queue, struct isc_io *io);
struct scsi_task *isc_pr_out_task(
	int action, int type, uint64_t key, uint64_t action_key, bool aptpl);
/* A PR command ended well: stores its results. */
int isc_pr_result(struct isc_queue *queue, struct isc_io *io, const struct scsi_task *task);
/* Sends a LUN RESET. */
int isc_lun_reset(struct isc_queue *queue, struct isc_io *io);

/* ---- iscsi.c ---- */
/* The io is over. */
void isc_io_done(struct isc_io *io, int status);
/* The target has dropped what was in flight, and may not tell about each of it. */
void isc_queue_suspect(struct isc_queue *queue);
/* Sends io once more after ms. */
void isc_io_later(struct isc_queue *queue, struct isc_io *io, unsigned ms);
/* Reads the capacity anew (unit attention 2a/09). */
void isc_queue_read_capacity(struct isc_queue *queue);
/* What an answer to READ CAPACITY said. */
void isc_queue_set_capacity(struct isc_queue *queue, const struct isc_lun *lun);

#endif
