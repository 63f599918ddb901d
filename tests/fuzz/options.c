/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows -o of mount.csvfs: its own parser. */
int mount_csvfs_main(int argc, char **argv);
#define main mount_csvfs_main
#include "tools/mount_csvfs.c"
#undef main

#include "tests/fuzz/fuzz.h"

const char *const fuzz_words[] = { "single", "ro", "debug", "allow_other", "noallow_other", "test_no_fence", "key=",
	"auth=", "initiator=", "control=", "workers=", "io_timeout=", "recall=", "lease=", ",", "=", "0", "4", "-1",
	"1000000", "1000001", "99999999999999999999", "0x10", " 1", "dev", "nodev", "suid", "noatime", "sync",
	"dirsync", "exec", "defaults", "_netdev", "nofail", "x-systemd.automount", "comment=", "relatime", NULL };

static const char *const seeds[] = {
	"single,key=/etc/csvfs/a.key",
	"auth=/x,initiator=iqn.2026-01.org.example:a,workers=4,io_timeout=30,control=/run/x",
	"recall=10,lease=8,ro,noallow_other,debug",
	"defaults,_netdev,nofail,x-systemd.automount,comment=a=b,noatime,nodev,nosuid,sync,dirsync",
	"workers=", "=", ",,,", "key", "single=1",
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	stderr = fopen("/dev/null", "we"); /* it tells each wrong option */
	return 0;
}

void fuzz_seeds(void (*add)(const void *data, size_t len))
{
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		add(seeds[i], strlen(seeds[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct volume_cfg cfg = { 0 };
	char *text = strndup((const char *)data, len), *one, *state = NULL;

	for (one = text ? strtok_r(text, ",", &state) : NULL; one; one = strtok_r(NULL, ",", &state))
		if (parse_option(&cfg, one))
			break;
	if (cfg.nr_workers > 1000000 || cfg.recall_ms > 1000000000 || cfg.lease_ms > 1000000000 ||
		cfg.transport_timeout_ms > 1000000000)
		fuzz_fail("a number that was refused is there");
	if (cfg.mount_flags && strlen(cfg.mount_flags) >= 256)
		fuzz_fail("flags that are too long");
	if (cfg.mount_flags) /* kept for the life of the program */
		*(char *)cfg.mount_flags = 0;
	free(text);
	return 0;
}
