/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Permissions as another user and group; sticky and set-group-id directories. Started as root. */
#include <grp.h>
#include <sys/wait.h>

#include "tests/posix/posix.h"

#define USER 12345u
#define GROUP 23456u

/* Runs fn as uid and gid (and one more group, unless it is 0); what fails in there fails the test. */
static void as(uid_t uid, gid_t gid, gid_t extra, void (*fn)(void))
{
	int status;
	pid_t pid = (pid_t)OK(fork());

	if (pid == 0) {
		OK(setgroups(extra ? 1 : 0, &extra));
		OK(setgid(gid));
		OK(setuid(uid));
		fn();
		_exit(0);
	}
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
}

static void no_rights(void)
{
	FAILS(open("root-only", O_RDONLY), EACCES);
	FAILS(open("readable", O_WRONLY), EACCES);
	OK(close(open_ok("readable", O_RDONLY)));
	FAILS(open("closed/f", O_RDONLY), EACCES);
	FAILS(mkdir("new", 0755), EACCES);
	FAILS(unlink("readable"), EACCES);
	FAILS(rename("readable", "x"), EACCES);
	CHECK(link("readable", "x") == -1 && (errno == EACCES || errno == EPERM));
	FAILS(chmod("readable", 0777), EPERM);
	FAILS(chown("readable", USER, (gid_t)-1), EPERM);
	FAILS(truncate("readable", 0), EACCES);
	FAILS(utimensat(AT_FDCWD, "readable", NULL, 0), EACCES);
	FAILS(access("root-only", R_OK), EACCES);
	OK(access("readable", R_OK));
}

static void own(void)
{
	int fd = open_ok("open-to-all/mine", O_CREAT | O_RDWR);
	CHECK_EQ(fstat_of(fd).st_uid, USER);
	CHECK_EQ(fstat_of(fd).st_gid, GROUP);
	OK(close(fd));
	OK(chmod("open-to-all/mine", 0));
	FAILS(open("open-to-all/mine", O_RDONLY), EACCES);
	OK(chmod("open-to-all/mine", 0600));
	FAILS(chown("open-to-all/mine", 0, (gid_t)-1), EPERM);
	FAILS(chown("open-to-all/mine", (uid_t)-1, 999), EPERM);
	OK(mkdir("open-to-all/d", 0755));
	CHECK_EQ(stat_of("open-to-all/d").st_uid, USER);
}

static void by_group(void)
{
	int fd = open_ok("for-group", O_RDWR);

	CHECK_EQ(write(fd, "g", 1), 1);
	OK(close(fd));
}

static void by_others(void)
{
	FAILS(open("for-group", O_RDONLY), EACCES);
	FAILS(open("open-to-all/mine", O_RDONLY), EACCES);
}

static void in_sticky(void)
{
	FAILS(unlink("sticky/roots"), EPERM);
	FAILS(rename("sticky/roots", "sticky/x"), EPERM);
	FAILS(rmdir("sticky/rootdir"), EPERM);
	make_file("sticky/mine", "");
	FAILS(rename("sticky/mine", "sticky/roots"), EPERM);
	OK(rename("sticky/mine", "sticky/mine2"));
	OK(unlink("sticky/mine2"));
}

static void in_setgid(void)
{
	make_file("setgid/f", "");
	CHECK_EQ(stat_of("setgid/f").st_gid, 777);
	OK(mkdir("setgid/d", 0755));
	CHECK_EQ(stat_of("setgid/d").st_gid, 777);
	CHECK_EQ(stat_of("setgid/d").st_mode & S_ISGID, S_ISGID);
}

static void chmod_own(void)
{
	OK(chmod("suid", 06755)); /* not of the file's group: set-group-id falls */
	CHECK_EQ(stat_of("suid").st_mode & 07777, 04755);
	OK(chown("suid", USER, GROUP)); /* by the owner: set-user-id falls */
	CHECK_EQ(stat_of("suid").st_mode & 07777, 0755);
}

int main(void)
{
	umask(0);
	OK(chmod(".", 0755));
	make_file("root-only", "r");
	OK(chmod("root-only", 0600));
	make_file("readable", "r");
	OK(chmod("readable", 0644));
	OK(mkdir("closed", 0700));
	make_file("closed/f", "");
	OK(mkdir("open-to-all", 0777));
	make_file("for-group", "");
	OK(chmod("for-group", 0660));
	OK(chown("for-group", 0, GROUP));
	as(USER, GROUP, 0, no_rights);
	as(USER, GROUP, 0, own);
	as(USER, GROUP, 0, by_group);
	as(USER + 1, 5, GROUP, by_group); /* one of its further groups */
	as(USER + 1, 5, 0, by_others);

	OK(mkdir("sticky", 01777));
	make_file("sticky/roots", "");
	OK(mkdir("sticky/rootdir", 0777));
	as(USER, GROUP, 0, in_sticky);
	OK(mkdir("setgid", 0777));
	OK(chown("setgid", 0, 777));
	OK(chmod("setgid", 02777));
	as(USER, GROUP, 0, in_setgid);
	make_file("suid", "");
	OK(chown("suid", USER, 777));
	as(USER, GROUP, 0, chmod_own);
	return 0;
}
