/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An iSCSI session: connect, log in, keep alive, drop.
 *
 *   state    function that enters it   left by
 *   IDLE     isc_conn_drop             isc_conn_start -> CONNECT
 *   CONNECT  isc_conn_start, redirect  on_connected -> LOGIN
 *   LOGIN    on_connected              on_login -> SETUP, or CONNECT when redirected
 *   SETUP    isc_setup_start           the last step -> UP
 *   UP       isc_setup                 conn->fail, then isc_conn_drop by the owner
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "blockdev/iscsi_internal.h"
#include "util/log.h"

#define MAX_REDIRECTS 4
#define POLL_MS 50

/* RFC 7143 11.13.5, class and detail */
#define LOGIN_REFUSED 0x0201
#define LOGIN_FORBIDDEN 0x0202
#define LOGIN_NO_TARGET 0x0203
#define LOGIN_TARGET_REMOVED 0x0204

static uint64_t ms_since(uint64_t now_ns, uint64_t then_ns)
{
	return now_ns > then_ns ? (now_ns - then_ns) / 1000000 : 0;
}

bool isc_no_answer(int status)
{
	return status == SCSI_STATUS_CANCELLED || status == SCSI_STATUS_ERROR ||
	       status == SCSI_STATUS_TIMEOUT;
}

int isc_conn_fail(struct isc_conn *conn, int err, const char *fmt, ...)
{
	va_list ap;

	if (conn->fail)
		return conn->fail;
	conn->fail = err;
	va_start(ap, fmt);
	vsnprintf(conn->why, sizeof(conn->why), fmt, ap);
	va_end(ap);
	return err;
}

void isc_conn_init(
	struct isc_conn *conn, const struct isc_cfg *cfg, const char *name, struct isc_queue *queue)
{
	uint32_t random[2] = {0};

	memset(conn, 0, sizeof(*conn));
	conn->cfg = cfg;
	conn->name = name;
	conn->queue = queue;
	conn->cmd.conn = conn->probe.conn = conn->bye.conn = conn;
	/* 40 random bits: sessions of all queues and processes of this initiator must differ (I2).
	 */
	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		random[0] = clock_mono_ns(), random[1] = (uintptr_t)conn >> 4;
	conn->isid_random = random[0] & 0xffffff;
	conn->isid_qualifier = random[1] & 0xffff;
}

/* libiscsi tells errno and login status only in its text: "Connection refused(111) while ..." */
static int number_in_error(struct isc_conn *conn)
{
	const char *text = iscsi_get_error(conn->ctx), *p;
	int n, last = 0;

	for (p = strchr(text, '('); p; p = strchr(p + 1, '('))
		if (sscanf(p, "(%d)", &n) == 1)
			last = n;
	return last;
}

static void set_linger(struct isc_conn *conn)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	if (setsockopt(iscsi_get_fd(conn->ctx), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		isc_conn_fail(conn, -errno, "can't set SO_LINGER: %s", strerror(errno)); /* (I5) */
}

static void on_connected(struct iscsi_context *ctx, int status, void *data, void *arg);

static void connect_to(struct isc_conn *conn, const char *portal)
{
	conn->tcp_up = false;
	conn->new_socket = true;
	conn->state = ISC_CONNECT;
	if (iscsi_connect_async(conn->ctx, portal, on_connected, conn))
		isc_conn_fail(conn, -ERR_TRANSPORT, "can't connect to %s: %s", portal,
			iscsi_get_error(conn->ctx));
	else
		set_linger(conn);
}

static void login_failed(struct isc_conn *conn)
{
	const struct isc_cfg *cfg = conn->cfg;
	int status = number_in_error(conn);

	switch (status) {
	case LOGIN_REFUSED:
	case LOGIN_FORBIDDEN:
		if (cfg->user)
			isc_conn_fail(conn, -EACCES,
				"target %s refuses user \"%s\" (CHAP); check user and password, "
				"and "
				"whether the target admits initiator %s",
				cfg->target, cfg->user, cfg->initiator);
		else
			isc_conn_fail(conn, -EACCES,
				"target %s refuses initiator %s without a password; it may want "
				"CHAP (user%%password) or this initiator in its access list",
				cfg->target, cfg->initiator);
		break;
	case LOGIN_NO_TARGET:
	case LOGIN_TARGET_REMOVED:
		isc_conn_fail(conn, -ENOENT, "there is no target %s at %s, or it hides from %s",
			cfg->target, cfg->portals[conn->portal], cfg->initiator);
		break;
	default:
		isc_conn_fail(conn, -ERR_TRANSPORT, "the login to target %s failed: %s",
			cfg->target, iscsi_get_error(conn->ctx));
	}
}

static void on_login(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_conn *conn = arg;

	if (conn->fail)
		return;
	if (status == SCSI_STATUS_GOOD) {
		isc_setup_start(conn);
	} else if (status == SCSI_STATUS_REDIRECT && conn->nr_redirects++ < MAX_REDIRECTS) {
		char portal[MAX_STRING_SIZE + 1];

		snprintf(portal, sizeof(portal), "%s", iscsi_get_target_address(ctx));
		iscsi_disconnect(ctx);
		connect_to(conn, portal);
	} else {
		login_failed(conn);
	}
}

static void on_connected(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_conn *conn = arg;
	int err;

	if (conn->fail)
		return;
	if (status != SCSI_STATUS_GOOD) {
		err = number_in_error(conn);
		isc_conn_fail(conn, -ERR_TRANSPORT,
			"can't connect to %s: %s; check address, port "
			"and whether the target runs",
			conn->cfg->portals[conn->portal],
			err > 0 ? strerror(err) : iscsi_get_error(ctx));
		return;
	}
	conn->tcp_up = true;
	conn->state = ISC_LOGIN;
	if (iscsi_login_async(ctx, on_login, conn))
		isc_conn_fail(conn, -ERR_TRANSPORT, "can't log in: %s", iscsi_get_error(ctx));
}

void isc_conn_start(struct isc_conn *conn)
{
	const struct isc_cfg *cfg = conn->cfg;

	conn->fail = 0;
	conn->up = conn->logged_out = false;
	conn->nr_redirects = 0;
	conn->nop_ns = 0;
	conn->attempt_ns = clock_mono_ns();
	conn->ctx = iscsi_create_context(cfg->initiator);
	if (!conn->ctx) {
		isc_conn_fail(conn, -ENOMEM, "out of memory");
		return;
	}
	iscsi_set_noautoreconnect(conn->ctx, 1); /* (I1) */
	iscsi_set_reconnect_max_retries(conn->ctx, 0);
	iscsi_set_session_type(conn->ctx, ISCSI_SESSION_NORMAL);
	iscsi_set_targetname(conn->ctx, cfg->target);
	iscsi_set_isid_random(conn->ctx, conn->isid_random, conn->isid_qualifier);
	iscsi_set_tcp_user_timeout(conn->ctx, 2 * ISC_DEAD_MS);
	if (cfg->user)
		iscsi_set_initiator_username_pwd(conn->ctx, cfg->user, cfg->password);
	connect_to(conn, cfg->portals[conn->portal]);
}

void isc_conn_drop(struct isc_conn *conn)
{
	struct isc_cmd *cmds[] = {&conn->cmd, &conn->probe, &conn->bye};

	conn->fail = conn->fail ? conn->fail : -ECANCELED; /* keeps why from the callbacks now */
	if (conn->ctx)
		iscsi_destroy_context(conn->ctx);
	conn->ctx = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(cmds); i++) {
		scsi_free_scsi_task(cmds[i]->task);
		cmds[i]->task = NULL;
	}
	conn->state = ISC_IDLE;
	conn->tcp_up = conn->up = false;
	conn->nop_ns = conn->step_at_ns = 0;
	conn->fail = 0;
}

void isc_conn_service(struct isc_conn *conn, int revents)
{
	if (revents & POLLIN)
		conn->rx_ns = clock_mono_ns();
	if (iscsi_service(conn->ctx, revents) >= 0)
		return;
	if (conn->state == ISC_UP)
		isc_conn_fail(conn, -ERR_TRANSPORT, "the connection to the target broke");
	else
		isc_conn_fail(conn, -ERR_TRANSPORT, "%s closed the connection during the login",
			conn->cfg->portals[conn->portal]);
}

static void on_nop(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_conn *conn = arg;

	if (status == SCSI_STATUS_GOOD)
		conn->nop_ns = 0;
	else
		isc_conn_fail(conn, -ERR_TRANSPORT, "the connection to the target broke");
}

static void keepalive(struct isc_conn *conn, uint64_t now_ns)
{
	if (conn->nop_ns) {
		if (ms_since(now_ns, MAX(conn->nop_ns, conn->rx_ns)) > ISC_DEAD_MS)
			isc_conn_fail(conn, -ERR_TRANSPORT,
				"the target has not answered for %d seconds", ISC_DEAD_MS / 1000);
		return;
	}
	if (ms_since(now_ns, conn->rx_ns) < ISC_NOP_AFTER_MS)
		return;
	if (iscsi_nop_out_async(conn->ctx, on_nop, NULL, 0, conn))
		isc_conn_fail(conn, -ERR_TRANSPORT, "the connection to the target broke");
	else
		conn->nop_ns = now_ns;
}

void isc_conn_tick(struct isc_conn *conn, uint64_t now_ns)
{
	if (conn->fail || conn->state == ISC_IDLE)
		return;
	if (conn->state == ISC_UP) {
		/* Also lets libiscsi tell about a logout that the target has asked for. */
		isc_conn_service(conn, 0);
		if (!conn->fail)
			keepalive(conn, now_ns);
		return;
	}
	if (ms_since(now_ns, conn->attempt_ns) > ISC_ATTEMPT_MS)
		isc_conn_fail(conn, -ERR_TRANSPORT, "%s did not answer within %d seconds%s%s",
			conn->cfg->portals[conn->portal], ISC_ATTEMPT_MS / 1000,
			conn->waits_for ? ": " : "", conn->waits_for ? conn->waits_for : "");
	else if (conn->state == ISC_SETUP)
		isc_setup_tick(conn, now_ns);
}

int isc_conn_wait(struct isc_conn *conn, const bool *flag, uint64_t deadline_ns)
{
	while (!conn->fail && !*flag) {
		struct pollfd pfd = {.fd = iscsi_get_fd(conn->ctx)};
		uint64_t now = clock_mono_ns();
		int n;

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		pfd.events = iscsi_which_events(conn->ctx);
		n = poll(&pfd, 1, MIN((int)((deadline_ns - now) / 1000000) + 1, POLL_MS));
		if (n < 0 && errno != EINTR)
			return isc_conn_fail(conn, -errno, "poll: %s", strerror(errno));
		if (n > 0)
			isc_conn_service(conn, pfd.revents);
		isc_conn_tick(conn, clock_mono_ns());
	}
	return conn->fail;
}

int isc_conn_open(struct isc_conn *conn, uint64_t deadline_ns)
{
	int left, r = 0;

	for (left = conn->cfg->nr_portals; left; left--) {
		uint64_t now = clock_mono_ns();
		uint64_t share = deadline_ns > now ? (deadline_ns - now) / left : 0;

		isc_conn_start(conn);
		r = isc_conn_wait(conn, &conn->up, now + share);
		if (!r)
			return 0;
		if (r == -ETIMEDOUT)
			r = isc_conn_fail(conn, -ERR_TRANSPORT, "%s did not answer in time",
				conn->cfg->portals[conn->portal]);
		isc_conn_drop(conn);
		if (r != -ERR_TRANSPORT)
			return r;
		conn->portal = (conn->portal + 1) % conn->cfg->nr_portals;
	}
	return r;
}

static void on_cmd(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_cmd *cmd = arg;
	struct scsi_task *task = cmd->task;

	if (isc_no_answer(status)) {
		isc_conn_fail(cmd->conn, -ERR_TRANSPORT, "the connection to the target broke");
		return;
	}
	cmd->task = NULL;
	if (!cmd->conn->fail)
		cmd->done(cmd, status, task);
	scsi_free_scsi_task(task);
}

void isc_cmd_send(struct isc_cmd *cmd, struct scsi_task *task,
	void (*done)(struct isc_cmd *cmd, int status, struct scsi_task *task))
{
	struct isc_conn *conn = cmd->conn;

	if (!task) {
		isc_conn_fail(conn, -ENOMEM, "out of memory");
		return;
	}
	cmd->task = task;
	cmd->done = done;
	if (iscsi_scsi_command_async(conn->ctx, conn->cfg->lun, task, on_cmd, NULL, cmd)) {
		scsi_free_scsi_task(task);
		cmd->task = NULL;
		isc_conn_fail(conn, -ERR_TRANSPORT, "can't send a command: %s",
			iscsi_get_error(conn->ctx));
	}
}

static void on_logout(struct iscsi_context *ctx, int status, void *data, void *arg)
{
	struct isc_conn *conn = arg;

	conn->logged_out = true;
}

void isc_conn_logout(struct isc_conn *conn, uint64_t deadline_ns)
{
	if (conn->state == ISC_UP && !conn->fail &&
		!iscsi_logout_async(conn->ctx, on_logout, conn) &&
		isc_conn_wait(conn, &conn->logged_out, deadline_ns))
		log_debug("%s: logout: %s", conn->name, conn->why);
}
