/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The volume key: 32 random bytes in a file of 64 hex digits, mode 0600. */
#ifndef CSVFS_KEY_H
#define CSVFS_KEY_H

#include <stdint.h>

#define KEY_BYTES 32

/* Errors: -ENOENT, -EACCES, -EPERM (others may read the file), -EINVAL (not 64 hex digits). */
int key_read(const char *path, uint8_t key[KEY_BYTES]) __attribute__((warn_unused_result));

/* Makes a new key and its file (O_EXCL, 0600), and the last folder of its path. -EEXIST, ... */
int key_create(const char *path, uint8_t key[KEY_BYTES]) __attribute__((warn_unused_result));

/* SHA-256 of the key: what the superblock keeps to name a wrong one. */
void key_id(const uint8_t key[KEY_BYTES], uint8_t id[32]);

#endif
