/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* A machine as the command line and as a file describe it, and what is said of mistakes. */
#include <errno.h>
#include <getopt.h>

#include "tests/unit/test.h"
#include "util/checked.h"
#include "vmm/options.h"

/* Options of `csvvm run`, cut at blanks. */
static int parse(struct vmm_options *options, const char *text)
{
	static char buf[1000];
	char *argv[20] = { (char *)"csvvm", (char *)"run" };
	int argc = 2, err;

	snprintf(buf, sizeof(buf), "%s", text);
	for (char *word = strtok(buf, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	optind = 0;
	err = vmm_options_begin(options, argc, argv);
	return err ? err : vmm_options_end(options, VMM_FOR_RUN, NULL, argc, argv);
}

static void flags(void)
{
	static const char *const bad[] = { "-m 31M", "-m 1x", "-m -1", "-m 100000001", "-c 0", "-c 65", "-c -1",
		"-d a,queus=1", "-d a,on-error", "-d a,on-error=x", "-d a,ro=1", "-d a,queues=0", "-d ,ro", "-N ../x", "-N a/b", "-N .x", "--wait=1", "-x",
		"-t tap=", "-t tap=a/b", "-t mac=52:54:00:00:00:01", "-t tap=a,fd=4", "-t tap=a,queues=17",
		"-t tap=a,mac=53:54:00:00:00:01", "-t tap=a,mac=52:54:00:00:00:1x", "-t fd=4,queues=2", "-t fd=2", "-t tap=a,x",
		"-d a,bus=usb", "-d a,bus", "-d a,id=a/b", "-d a,id=a23456789012345678901", "-d a,id=x -d b,id=x", "-f", "-s 1G",
		"a b c" };
	struct vmm_options options;

	CHECK_OK(parse(&options, "-k kernel -m 1G --cpus=2 -d a.img -d fault(ops=read,nth=2,err=EIO)|file:/b,ro,queues=3,on-error=report"));
	CHECK(strcmp(options.command, "run") == 0 && !options.operand);
	CHECK(strcmp(options.conf.boot.kernel, "kernel") == 0);
	CHECK_EQ(options.conf.memory_bytes, 1 << 30);
	CHECK_EQ(options.conf.nr_cpus, 2);
	CHECK_EQ(options.conf.nr_disks, 2);
	CHECK(strcmp(options.conf.disks[1].path, "fault(ops=read,nth=2,err=EIO)|file:/b") == 0);
	CHECK(options.conf.disks[1].readonly && !options.conf.disks[0].readonly);
	CHECK_EQ(options.conf.disks[1].nr_queues, 3);
	CHECK_EQ(options.conf.disks[1].on_error, VMM_ON_ERROR_REPORT);
	CHECK_EQ(options.conf.disks[0].on_error, VMM_ON_ERROR_PAUSE);
	CHECK_OK(parse(&options, "-t tap=vm0,mac=52:54:00:0a:0B:0c,queues=4 --net=fd=7"));
	CHECK_EQ(options.conf.nr_nets, 2);
	CHECK(strcmp(options.conf.nets[0].tap, "vm0") == 0 && options.conf.nets[0].nr_queues == 4);
	CHECK(memcmp(options.conf.nets[0].mac, "\x52\x54\x00\x0a\x0b\x0c", 6) == 0);
	CHECK(!options.conf.nets[1].tap && options.conf.nets[1].fd == 7);
	CHECK((options.conf.nets[1].mac[0] & 3) == 2);
	CHECK_OK(parse(&options, "-d a -d b,bus=scsi,id=disk0 -d c,bus=scsi -d d,bus=blk,id=sys x y"));
	CHECK(strcmp(options.argument, "y") == 0); /* which run does not take, as csvvm.c knows */
	CHECK_EQ(options.conf.disks[0].bus, VMM_BUS_BLK);
	CHECK_EQ(options.conf.disks[2].bus, VMM_BUS_SCSI);
	CHECK(strcmp(options.conf.disks[0].id, "disk1") == 0 && strcmp(options.conf.disks[2].id, "disk2") == 0);
	CHECK(strcmp(options.conf.disks[1].id, "disk0") == 0 && strcmp(options.conf.disks[3].id, "sys") == 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(parse(&options, bad[i]), -EINVAL);
}

static void file(void)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{ "", "f: it is not a JSON object" },
		{ "[]", "f: it is not a JSON object" },
		{ "{\"cpus\": 0}", "f: \"cpus\": wants a number from 1 to 64, not \"0\"" },
		{ "{\"cpus\": [1]}", "f: \"cpus\": wants a number from 1 to 64" },
		{ "{\"cpus\": 1.5}", "f: \"cpus\": wants" },
		{ "{\"kernel\": \"a\\u0000b\"}", "f: \"kernel\": wants a file" },
		{ "{\"kernel\": null}", "f: \"kernel\": wants a file" },
		{ "{\"kernle\": \"a\"}", "f: \"kernle\": there is no such key" },
		{ "{\"daemon\": true}", "f: \"daemon\": there is no such key" },
		{ "{\"disk\": {\"ro\": true}}", "f: \"disk\": a disk wants a \"file\"" },
		{ "{\"disk\": [{\"file\": \"a\", \"queues\": 99}]}",
			"f: \"disk\": \"queues\" wants a number from 1 to 64, not \"99\"" },
		{ "{\"net\": \"vm0\"}", "f: \"net\": a network card is an object" },
		{ "{\"net\": [{\"tap\": [1]}]}", "f: \"net\": this is of the wrong kind: tap" },
		{ "{\"net\": {\"mac\": \"52:54:00:00:00:01\"}}", "f: \"net\": a network card wants one of" },
		{ "{\"disk\": [1]}", "f: \"disk\": a disk wants a \"file\"" },
		{ "{\"disk\": {\"file\": \"a\", \"rw\": true}}", "f: \"disk\": a disk has no \"rw\"" },
	};
	struct vmm_options options;
	char *error;

	CHECK_OK(parse(&options, ""));
	CHECK_OK(vmm_options_json(&options, "f",
		"{\"name\": \"web\", \"kernel\": \"/k\", \"memory\": \"64M\", \"cpus\": 3, \"no-reboot\": true,"
		" \"disk\": [\"a,b\", {\"file\": \"c\", \"ro\": true, \"queues\": 2}]}",
		&error));
	CHECK(strcmp(options.name, "web") == 0 && strcmp(options.conf.boot.kernel, "/k") == 0);
	CHECK_EQ(options.conf.memory_bytes, 64 << 20);
	CHECK_EQ(options.conf.nr_cpus, 3);
	CHECK(options.no_reboot);
	CHECK_EQ(options.conf.nr_disks, 2);
	CHECK(strcmp(options.conf.disks[0].path, "a,b") == 0 && strcmp(options.conf.disks[1].path, "c") == 0);
	CHECK(options.conf.disks[1].readonly);
	CHECK_EQ(options.conf.disks[1].nr_queues, 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(vmm_options_json(&options, "f", bad[i].text, &error), -EINVAL);
		if (strncmp(error, bad[i].error, strlen(bad[i].error)) != 0) {
			fprintf(stderr, "%s: %s\n", bad[i].text, error);
			CHECK(!"the message");
		}
		free(error);
	}
	vmm_options_free(&options);
}

int main(void)
{
	flags();
	file();
	return 0;
}
