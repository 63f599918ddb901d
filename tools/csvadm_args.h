/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What stands on csvadm's command line: options in any place, words in their order. */
#ifndef TOOLS_CSVADM_ARGS_H
#define TOOLS_CSVADM_ARGS_H

#include "tools/csvadm.h"

/* Words behind a command, in this order, and options that not all commands take. */
#define TAKES_NODE 1u
#define TAKES_FILE 2u
#define TAKES_DIR 4u
#define TAKES_NEW_FILE 8u
#define TAKES_SIZE 16u
#define TAKES_VOLUME 32u
#define TAKES_WAIT 64u	   /* --wait */
#define TAKES_RATE 128u	   /* --interval, --count */
#define TAKES_MB 256u	   /* --rate */
#define TAKES_TO_SIZE 512u /* --size */
#define TAKES_FORMAT 1024u /* --format, --fixed, --dynamic, --force */
#define TAKES_LIMITS 2048u /* --limit, --files, --project */

struct adm_command {
	const char *object, *verb; /* verb NULL: there is none */
	bool is_default;	   /* of its object */
	unsigned takes;
	int (*run)(const struct adm *adm);
	const char *usage;
};

struct adm_args {
	bool help, version;
	uint32_t given; /* which options, a bit each: for adm_args_fit() */
	char **words;
	int nr_words;
};

/* Reads the options into adm and args; argv stays the caller's, and its order changes. An exit code,
 * everything printed. */
int adm_args_parse(int argc, char **argv, struct adm *adm, struct adm_args *args);

/* Whether command takes the options that were given, and no other words than args has left behind its
 * own, which go into adm. commands: all nr of them, to say whose an option is. An exit code. */
int adm_args_fit(const struct adm_args *args, const struct adm_command *command,
	const struct adm_command *commands, size_t nr, struct adm *adm);

#endif
