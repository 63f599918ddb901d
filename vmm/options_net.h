/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards as the command line and a file describe them. */
#ifndef VMM_OPTIONS_NET_H
#define VMM_OPTIONS_NET_H

struct json_object;
struct vmm_conf;

/* Adds a card as --net has it; cuts text, and keeps it. Without "mac" it gets a random address.
 * -EINVAL with *ret_error, the caller's. */
int vmm_options_net(struct vmm_conf *conf, char *text, char **ret_error)
	__attribute__((warn_unused_result, nonnull));

/* Likewise from JSON: an object, or a list of them; the texts stay its own. */
int vmm_options_json_net(struct vmm_conf *conf, struct json_object *json, char **ret_error)
	__attribute__((warn_unused_result, nonnull(1, 3)));

#endif
