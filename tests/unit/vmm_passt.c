/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* The stream to passt: frames whole however it is cut, room that runs out and comes back, what is no
 * frame; and passt itself, in a namespace of its own, which answers ARP. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/passt.h"

#define HDR VMM_LINK_HDR

static struct vmm_passt *passt;
static struct vmm_link *wire;
static uint8_t frame[HDR + VMM_PASST_FRAME_MAX], got[sizeof(frame)], stream[sizeof(frame)];

static ssize_t receive(size_t first_bytes, size_t len_bytes)
{
	struct iovec iov[2] = { { got, first_bytes },
		{ got + first_bytes, len_bytes - first_bytes } };

	memset(got, 0xee, sizeof(got));
	return wire->ops->receive(wire, 0, iov, 2);
}

static void send_frame(size_t cut, size_t len_bytes)
{
	struct iovec iov[2] = { { frame, cut }, { frame + cut, len_bytes - cut } };

	wire->ops->send(wire, 0, iov, 2);
}

static int wrapped(void)
{
	int ends[2];

	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	CHECK_OK(vmm_passt_wrap(ends[0], 0, &passt));
	wire = &passt->link;
	return ends[1];
}

/* Two frames, a byte at a time and at once; buffers of the guest that are cut anywhere, or too small. */
static void received(void)
{
	static const uint8_t bytes[] = { 0, 0, 0, 5, 'h', 'e', 'l', 'l', 'o', 0, 0, 0, 1, '!' };
	static const uint8_t zeroes[HDR];
	int peer = wrapped();

	for (size_t i = 0; i < sizeof(bytes); i++) {
		CHECK_EQ(receive(3, 100), i == 9 ? HDR + 5 : -EAGAIN);
		if (i == 9)
			CHECK(memcmp(got, zeroes, HDR) == 0 && memcmp(got + HDR, "hello", 5) == 0);
		CHECK_EQ(write(peer, &bytes[i], 1), 1);
	}
	CHECK_EQ(receive(HDR + 1, 100), HDR + 1);
	CHECK_EQ(got[HDR], '!');
	CHECK_EQ(receive(1, 100), -EAGAIN);
	CHECK_EQ(write(peer, bytes, sizeof(bytes)), sizeof(bytes));
	CHECK_EQ(receive(HDR + 2, HDR + 3), HDR + 3); /* no room for the rest */
	CHECK(memcmp(got + HDR, "hel\xee", 4) == 0);
	CHECK(wire->ops->has_more(wire));
	CHECK_EQ(receive(2, 100), HDR + 1);
	CHECK(!wire->ops->has_more(wire));
	close(peer);
	CHECK_EQ(receive(2, 100), -EPIPE);
	vmm_passt_free(passt);
}

/* Until the peer has no room; what was taken in part arrives whole, and nothing else. */
static void sent(void)
{
	size_t len = HDR + 60000;
	unsigned int nr = 0;
	int peer = wrapped();

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
	while (wire->ops->send_room(wire)) {
		send_frame(5, len);
		CHECK(++nr < 1000);
	}
	CHECK(nr > 1);
	for (unsigned int i = 0; i < nr; i++) {
		for (size_t done = 0; done < 4 + 60000;) {
			ssize_t n = recv(peer, stream + done, 4 + 60000 - done, MSG_DONTWAIT);

			CHECK(n > 0 || wire->ops->send_room(wire) || errno == EAGAIN);
			done += n > 0 ? (size_t)n : 0;
		}
		CHECK(memcmp(stream, "\0\0\xea\x60", 4) == 0);
		CHECK(memcmp(stream + 4, frame + HDR, 60000) == 0);
	}
	CHECK(wire->ops->send_room(wire));
	send_frame(HDR + 1, sizeof(frame) - 1);
	send_frame(1, HDR); /* an empty one is one, too */
	close(peer);
	send_frame(1, HDR + 1); /* to nobody */
	CHECK(wire->ops->send_room(wire));
	vmm_passt_free(passt);
}

static void no_frame(void)
{
	int peer = wrapped();

	CHECK_EQ(write(peer, "\xff\xff\xff\xff", 4), 4);
	CHECK_EQ(receive(2, 100), -EPIPE);
	CHECK_EQ(receive(2, 100), -EPIPE);
	close(peer);
	vmm_passt_free(passt);
}

/* Who has 10.7.0.1? passt says it is him. */
static void real(void)
{
	static const uint8_t arp[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0, 0, 0, 0, 1, 8,
		6, 0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0, 0, 0, 0, 1, 10, 7, 0, 2, 0, 0, 0, 0, 0, 0, 10,
		7, 0, 1 };
	struct pollfd p = { .events = POLLIN };
	ssize_t len = -EAGAIN;

	if (system("command -v passt >/dev/null") != 0 || geteuid() != 0 ||
		unshare(CLONE_NEWNET) < 0) {
		printf("no passt here, or no root: not tried\n");
		return;
	}
	CHECK_EQ(system("ip link set lo up && ip link add up0 type veth peer name up1 && "
			"ip link set up1 up && ip addr add 10.7.0.2/24 dev up0 && ip link set up0 "
			"up && "
			"ip route add default via 10.7.0.1"),
		0);
	CHECK_OK(vmm_passt_new("none", NULL, &passt));
	wire = &passt->link;
	memset(frame, 0, HDR);
	memcpy(frame + HDR, arp, sizeof(arp));
	send_frame(HDR, HDR + sizeof(arp));
	p.fd = wire->fds[0];
	/* it may say other things, too */
	while (len == -EAGAIN || got[HDR + 12] != 8 || got[HDR + 13] != 6) {
		len = receive(HDR, sizeof(got));
		CHECK(len > 0 || len == -EAGAIN);
		CHECK(len > 0 || poll(&p, 1, 20000) == 1);
	}
	CHECK_EQ(got[HDR + 21], 2);
	CHECK(memcmp(got + HDR + 28, "\x0a\x07\x00\x01", 4) == 0);
	vmm_passt_free(passt);
}

int main(void)
{
	received();
	sent();
	no_frame();
	real();
	return 0;
}
