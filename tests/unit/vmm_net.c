/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* A network card on a real tap, in a namespace of its own, with this test as its driver: jumbo
 * frames both ways, merged buffers, several queues, and a driver that breaks rules. No KVM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/kvm.h"
#include "vmm/mem.h"
#include "vmm/tap.h"
#include "vmm/virtio.h"
#include "vmm/virtio_net.h"

#define SIZE 32
#include "tests/unit/virtio_driver.h"

#define RAM (4u << 20)
#define DATA 0x100000
#define TYPE 0x88b5 /* for experiments */

enum { F_MTU = 1 << 3, F_MRG = 1 << 15, F_CTRL = 1 << 17, F_MQ = 1 << 22 };
enum { RX, TX, CTRL = 4 };

static struct vmm_link tap;
static struct vmm_virtio_net *net;
static int outside;

static void start(uint32_t features)
{
	reg(0x14, 1, 0);
	CHECK_EQ(get(0x14, 1), 0);
	driver_start(5, features);
}

/* Waits for the device to get there, or to stop. */
static bool wait_used(unsigned int queue, uint16_t idx)
{
	time_t end = time(NULL) + 20;

	while (used(queue) != idx && !broken()) {
		CHECK(time(NULL) < end);
		sched_yield();
	}
	return !broken();
}

static void fill(uint8_t *frame, size_t len)
{
	memset(frame, 0xff, 6);
	for (size_t i = 6; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + i / 256);
	frame[12] = TYPE >> 8;
	frame[13] = TYPE & 0xff;
}

static void send_and_receive(void)
{
	static uint8_t frame[8000], got[9000];
	struct pollfd p = { .fd = outside, .events = POLLIN };
	uint16_t nr;

	start(F_MTU | F_MRG | F_CTRL);
	fill(frame, sizeof(frame));
	memset(ram(DATA), 0, 12);
	memcpy(ram(DATA) + 12, frame, sizeof(frame));
	desc(TX, 0, DATA, 5, NEXT); /* the header cut in two, and the frame */
	desc(TX, 1, DATA + 5, 100, NEXT);
	desc(TX, 2, DATA + 105, 12 + 8000 - 105, 0);
	offer(TX, 0);
	kick(TX);
	CHECK(wait_used(TX, 1));
	CHECK_EQ(poll(&p, 1, 20000), 1);
	CHECK_EQ(recv(outside, got, sizeof(got), 0), 8000);
	CHECK(memcmp(got, frame, sizeof(frame)) == 0);
	/* into 1,000 bytes a buffer, the first with its header cut at the count of buffers */
	desc(RX, 0, DATA, 11, WRITE | NEXT);
	desc(RX, 1, DATA + 11, 989, WRITE);
	offer(RX, 0);
	for (unsigned int i = 1; i < 20; i++) {
		desc(RX, i + 1, DATA + 1000 * i, 1000, WRITE);
		offer(RX, (uint16_t)(i + 1));
	}
	kick(RX);
	for (unsigned int turn = 0; turn < 2; turn++) {
		CHECK_EQ(send(outside, frame, sizeof(frame), 0), 8000);
		CHECK(wait_used(RX, (uint16_t)(9 * (turn + 1))));
		memcpy(&nr, ram(DATA + 9000 * turn) + 10, 2);
		CHECK_EQ(nr, 9);
		CHECK(memcmp(ram(DATA + 9000 * turn) + 12, frame, sizeof(frame)) == 0);
		/* two are left: too few, so it waits for more, and the frame does, too */
	}
	CHECK_EQ(send(outside, frame, sizeof(frame), 0), 8000);
	for (unsigned int i = 21; i < 30; i++) {
		desc(RX, i, DATA + 1000 * (i - 1), 1000, WRITE);
		offer(RX, (uint16_t)i);
	}
	kick(RX);
	CHECK(wait_used(RX, 27));
	CHECK(memcmp(ram(DATA + 18000) + 12, frame, sizeof(frame)) == 0);
}

/* The answer to a command of len bytes. */
static uint8_t ask(uint8_t class, uint8_t what, const void *data, uint32_t len)
{
	uint16_t before = used(CTRL);

	ram(DATA)[0] = class;
	ram(DATA)[1] = what;
	memcpy(ram(DATA) + 2, data, len);
	ram(DATA)[100] = 0xee;
	desc(CTRL, 0, DATA, 2 + len, NEXT);
	desc(CTRL, 1, DATA + 100, 1, WRITE);
	offer(CTRL, 0);
	kick(CTRL);
	CHECK(wait_used(CTRL, (uint16_t)(before + 1)));
	return ram(DATA)[100];
}

static void commands(void)
{
	static const uint16_t pairs[] = { 0, 1, 2, 3, 0xffff };

	start(F_CTRL | F_MQ);
	CHECK_EQ(ask(4, 0, &pairs[2], 2), 0);
	CHECK_EQ(ask(4, 0, &pairs[1], 2), 0);
	CHECK_EQ(ask(4, 0, &pairs[2], 2), 0);
	CHECK_EQ(ask(4, 0, &pairs[0], 2), 1);
	CHECK_EQ(ask(4, 0, &pairs[3], 2), 1);
	CHECK_EQ(ask(4, 0, &pairs[4], 2), 1);
	CHECK_EQ(ask(4, 0, &pairs[2], 1), 1); /* cut short */
	CHECK_EQ(ask(4, 9, &pairs[2], 2), 1);
	CHECK_EQ(ask(0, 0, "\1", 1), 0);
	CHECK_EQ(ask(0, 7, "\1", 1), 1);
	for (unsigned int class = 5; class < 256; class++)
		CHECK_EQ(ask((uint8_t)class, (uint8_t)class, "garbage", 7), 1);
	/* no room for an answer */
	desc(CTRL, 0, DATA, 4, 0);
	offer(CTRL, 0);
	kick(CTRL);
	CHECK(!wait_used(CTRL, 0xfff0));
}

static void hostile(void)
{
	uint8_t got[100];

	/* lies in the header: the frame is lost, no more */
	start(F_MTU);
	memset(ram(DATA), 0xff, 1000);
	desc(TX, 0, DATA, 100, 0);
	offer(TX, 0);
	kick(TX);
	CHECK(wait_used(TX, 1));
	CHECK(recv(outside, got, sizeof(got), MSG_DONTWAIT) < 0);
	/* less than a header; one that we should write; a receive buffer to read; a short one */
	desc(TX, 0, DATA, 11, 0);
	offer(TX, 0);
	kick(TX);
	CHECK(!wait_used(TX, 2));
	start(F_MTU);
	desc(TX, 0, DATA, 100, WRITE);
	offer(TX, 0);
	kick(TX);
	CHECK(!wait_used(TX, 1));
	start(F_MTU);
	desc(RX, 0, DATA, 2000, 0);
	offer(RX, 0);
	kick(RX);
	CHECK(!wait_used(RX, 1));
	start(F_MTU | F_MRG);
	desc(RX, 0, DATA, 11, WRITE);
	offer(RX, 0);
	kick(RX);
	CHECK(!wait_used(RX, 1));
}

static void make(void)
{
	static const uint8_t mac[6] = { 0x52, 0, 0, 0, 0, 1 };
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_protocol = htons(TYPE) };
	struct ifreq req = { .ifr_mtu = 9000 };
	struct vmm_link again;
	int fd;

	CHECK_OK(vmm_tap_open(&tap, "vmmnet0", -1, 2));
	CHECK_EQ(tap.mtu, 1500);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	strcpy(req.ifr_name, tap.name);
	CHECK_OK(ioctl(fd, SIOCSIFMTU, &req));
	close(fd);
	/* once more, as one that was there already */
	CHECK_OK(vmm_tap_open(&again, "vmmnet0", -1, 2));
	CHECK_EQ(again.mtu, 9000);
	vmm_tap_close(&tap);
	tap = again;
	outside = socket(AF_PACKET, SOCK_RAW, htons(TYPE));
	CHECK_OK(ioctl(outside, SIOCGIFINDEX, &req));
	addr.sll_ifindex = req.ifr_ifindex;
	CHECK_OK(bind(outside, (struct sockaddr *)&addr, sizeof(addr)));
	board_new(RAM);
	CHECK_OK(vmm_virtio_net_new(&tap, mac, mem, &pci, &net));
	dev = pci.slots[1]->arg;
	CHECK_EQ(get(0x2000, 1), 0x52);
	CHECK_EQ(get(0x2008, 2), 2);
	CHECK_EQ(get(0x200a, 2), 9000);
}

int main(void)
{
	int fd;

	if (access("/dev/net/tun", R_OK | W_OK) < 0 || unshare(CLONE_NEWNET) < 0)
		SKIP("taps and network namespaces are not for us here");
	fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
	CHECK(fd < 0 || write(fd, "1", 1) == 1); /* or it would talk */
	close(fd);
	make();
	send_and_receive();
	commands();
	hostile();
	start(F_MTU | F_MRG | F_CTRL | F_MQ);
	vmm_virtio_net_free(net);
	vmm_tap_close(&tap);
	vmm_mem_free(mem);
	close(outside);
	return 0;
}
