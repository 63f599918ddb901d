/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of a ram: device: persistent reservations (ram_pr.c), a volatile write cache
 * (ram_cache.c). The disk's lock is held in all calls. */
#ifndef BLOCKDEV_RAM_INTERNAL_H
#define BLOCKDEV_RAM_INTERNAL_H

#include "blockdev/bdev_internal.h"

/* An I_T nexus: a queue. */
struct ram_nexus {
	struct list link;
	uint64_t key;	/* 0 = not registered */
	bool attention; /* the next request is refused with a UNIT ATTENTION */
};

struct ram_pr {
	struct list nexuses;
	uint8_t type;		  /* 0 = no reservation */
	struct ram_nexus *holder; /* type 5; of type 7 each registrant is a holder */
};

void ram_pr_init(struct ram_pr *pr);
void ram_pr_join(struct ram_pr *pr, struct ram_nexus *nexus);
/* The nexus goes away, and with it its registration. */
void ram_pr_leave(struct ram_pr *pr, struct ram_nexus *nexus);
/* 0 if nexus may change data, else -ERR_FENCED. */
int ram_pr_check_write(const struct ram_pr *pr, const struct ram_nexus *nexus);
/* A BDEV_PR_* request. -EBUSY is SPC-4's RESERVATION CONFLICT. */
int ram_pr_command(
	struct ram_pr *pr, struct ram_nexus *nexus, enum bdev_op op, struct bdev_pr *args);
/* Each nexus but `except` gets a UNIT ATTENTION. */
void ram_pr_attention(struct ram_pr *pr, const struct ram_nexus *except);
/* A restart: nothing is registered or reserved any more. */
void ram_pr_forget(struct ram_pr *pr);

/* The disk's memory is the cache; `stable` is what a loss of power leaves. */
struct ram_cache {
	char *mem, *stable; /* stable NULL = everything is stable at once */
	uint64_t size_bytes;
	uint8_t *dirty; /* a bit for each 4 KiB in which the two may differ */
};

int ram_cache_init(struct ram_cache *cache, char *mem, uint64_t size_bytes);
void ram_cache_destroy(struct ram_cache *cache);
/* [off, off + len) of mem has been changed; fua: make these bytes stable now. */
void ram_cache_changed(struct ram_cache *cache, uint64_t off, uint64_t len, bool fua);
void ram_cache_flush(struct ram_cache *cache);
void ram_cache_power_loss(struct ram_cache *cache);

#endif
