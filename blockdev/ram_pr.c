/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent reservations in memory, after SPC-4 5.13: types 5 and 7. */
#include <errno.h>

#include "blockdev/ram_internal.h"

static struct ram_nexus *to_nexus(struct list *link)
{
	return list_entry(link, struct ram_nexus, link);
}

void ram_pr_init(struct ram_pr *pr)
{
	*pr = (struct ram_pr){ 0 };
	list_init(&pr->nexuses);
}

void ram_pr_join(struct ram_pr *pr, struct ram_nexus *nexus)
{
	list_add_tail(&pr->nexuses, &nexus->link);
}

static bool anyone_registered(const struct ram_pr *pr)
{
	struct list *pos;

	list_for_each(pos, &pr->nexuses)
		if (to_nexus(pos)->key)
			return true;
	return false;
}

/* SPC-4 5.13.11: a reservation goes with its holder's, of type 7 with the last registration. */
static void unregister(struct ram_pr *pr, struct ram_nexus *nexus)
{
	nexus->key = 0;
	if (pr->holder == nexus || (pr->type && !anyone_registered(pr))) {
		pr->type = 0;
		pr->holder = NULL;
	}
}

void ram_pr_leave(struct ram_pr *pr, struct ram_nexus *nexus)
{
	unregister(pr, nexus);
	list_del(&nexus->link);
}

void ram_pr_attention(struct ram_pr *pr, const struct ram_nexus *except)
{
	struct list *pos;

	list_for_each(pos, &pr->nexuses)
		if (to_nexus(pos) != except)
			to_nexus(pos)->attention = true;
}

void ram_pr_forget(struct ram_pr *pr)
{
	struct list *pos;

	list_for_each(pos, &pr->nexuses)
		to_nexus(pos)->key = 0;
	pr->type = 0;
	pr->holder = NULL;
	ram_pr_attention(pr, NULL);
}

int ram_pr_check_write(const struct ram_pr *pr, const struct ram_nexus *nexus)
{
	return pr->type == 0 || nexus->key ? 0 : -ERR_FENCED;
}

static bool holds(const struct ram_pr *pr, const struct ram_nexus *nexus)
{
	if (pr->type == BDEV_PR_WRITE_EXCLUSIVE_ALL)
		return nexus->key != 0;
	return pr->type && pr->holder == nexus;
}

static bool type_ok(uint8_t type)
{
	return type == BDEV_PR_WRITE_EXCLUSIVE_REGISTRANTS || type == BDEV_PR_WRITE_EXCLUSIVE_ALL;
}

static void take(struct ram_pr *pr, struct ram_nexus *nexus, uint8_t type)
{
	pr->type = type;
	pr->holder = type == BDEV_PR_WRITE_EXCLUSIVE_ALL ? NULL : nexus;
}

static int reserve(struct ram_pr *pr, struct ram_nexus *nexus, const struct bdev_pr *args)
{
	if (!nexus->key || nexus->key != args->key)
		return -EBUSY;
	if (!type_ok(args->type))
		return -EINVAL;
	if (pr->type)
		return holds(pr, nexus) && pr->type == args->type ? 0 : -EBUSY;
	take(pr, nexus, args->type);
	return 0;
}

/* Removes the registrations with the key (0 = all) but nexus's own. Returns how many matched. */
static int remove_victims(struct ram_pr *pr, struct ram_nexus *nexus, uint64_t key)
{
	struct list *pos;
	int matched = 0;

	list_for_each(pos, &pr->nexuses) {
		struct ram_nexus *other = to_nexus(pos);

		if (!other->key || (key && other->key != key))
			continue;
		matched++;
		if (other == nexus)
			continue;
		other->key = 0;
		other->attention = true; /* 2A/05, REGISTRATIONS PREEMPTED */
	}
	return matched;
}

/* SPC-4 5.13.11.2.4 and 6.14.2 */
static int preempt(struct ram_pr *pr, struct ram_nexus *nexus, const struct bdev_pr *args)
{
	bool all = pr->type == BDEV_PR_WRITE_EXCLUSIVE_ALL;
	bool takes;

	if (!nexus->key || nexus->key != args->key)
		return -EBUSY;
	if (args->victim == 0 && !all)
		return -EINVAL;
	if (all)
		takes = args->victim == 0;
	else
		takes = pr->type && pr->holder->key == args->victim;
	if (takes && !type_ok(args->type))
		return -EINVAL;
	if (remove_victims(pr, nexus, args->victim) == 0)
		return -EBUSY;
	if (takes)
		take(pr, nexus, args->type);
	return 0;
}

static void read_keys(const struct ram_pr *pr, struct bdev_pr *args)
{
	struct list *pos;

	args->nr_keys = 0;
	list_for_each(pos, &pr->nexuses) {
		uint64_t key = to_nexus(pos)->key;

		if (!key)
			continue;
		if (args->nr_keys < args->max_keys)
			args->keys[args->nr_keys] = key;
		args->nr_keys++;
	}
}

int ram_pr_command(
	struct ram_pr *pr, struct ram_nexus *nexus, enum bdev_op op, struct bdev_pr *args)
{
	switch (op) {
	case BDEV_PR_REGISTER:
		if (args->new_key)
			nexus->key = args->new_key;
		else
			unregister(pr, nexus);
		return 0;
	case BDEV_PR_RESERVE:
		return reserve(pr, nexus, args);
	case BDEV_PR_PREEMPT:
		return preempt(pr, nexus, args);
	case BDEV_PR_READ_KEYS:
		read_keys(pr, args);
		return 0;
	case BDEV_PR_READ_RESERVATION:
		/* SPC-4 6.13.3.2: the key of an all-registrants reservation reads as zero. */
		args->key = pr->holder ? pr->holder->key : 0;
		args->type = pr->type;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}
