/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fcntl(2) locks of processes and of open files, flock(2): who is kept out, what ends a lock, waiting,
 * circles, signals. */
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/posix/posix.h"

static struct flock range(int type, off_t start, off_t len)
{
	return (struct flock){ .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start,
		.l_len = len };
}

static int lock(int fd, int cmd, int type, off_t start, off_t len)
{
	struct flock fl = range(type, start, len);

	return fcntl(fd, cmd, &fl);
}

/* The first lock that is in the way of one for writing. */
static struct flock who(int fd, int cmd, off_t start, off_t len)
{
	struct flock fl = range(F_WRLCK, start, len);

	OK(fcntl(fd, cmd, &fl));
	return fl;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Until call succeeds. The kernel tells of the end of an open file a moment after close(). */
#define SOON(call)                                                                                 \
	do {                                                                                       \
		int left_ = 1000;                                                                  \
		while ((call) == -1) {                                                             \
			CHECK(errno == EAGAIN && left_-- > 0);                                     \
			pause_ms(10);                                                              \
		}                                                                                  \
	} while (0)

/* ---- another process, which does what it is sent ---- */

struct other {
	pid_t pid;
	int to, from;
	const char *path;
};

struct order {
	char what; /* l: lock, f: flock, o: open one more and close it, q: end */
	int cmd, type;
	off_t start, len;
};

static void on_signal(int sig)
{
}

static void serve(const char *path, int from, int to)
{
	struct sigaction act = { .sa_handler = on_signal };
	struct order o;
	int fd = open_ok(path, O_RDWR);

	OK(sigaction(SIGUSR1, &act, NULL)); /* without SA_RESTART */
	while (read(from, &o, sizeof(o)) == sizeof(o)) {
		int ret = 0;
		if (o.what == 'q')
			break;
		if (o.what == 'l')
			ret = lock(fd, o.cmd, o.type, o.start, o.len);
		else if (o.what == 'f')
			ret = flock(fd, o.type);
		else
			OK(close(open_ok(path, O_RDONLY)));
		ret = ret ? errno : 0;
		CHECK_EQ(write(to, &ret, sizeof(ret)), sizeof(ret));
	}
	_exit(0);
}

static struct other other_new(const char *path)
{
	int to[2], from[2];
	struct other x = { .path = path };

	OK(pipe2(to, O_CLOEXEC));
	OK(pipe2(from, O_CLOEXEC));
	x.pid = (pid_t)OK(fork());
	if (x.pid == 0) {
		close(to[1]);
		close(from[0]);
		serve(path, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	x.to = to[1];
	x.from = from[0];
	return x;
}

static void begin(struct other *x, struct order o)
{
	CHECK_EQ(write(x->to, &o, sizeof(o)), sizeof(o));
}

static int answer_at(struct other *x, int line)
{
	struct pollfd p = { .fd = x->from, .events = POLLIN };
	int ret = 0;

	if (poll(&p, 1, 20000) != 1 || read(x->from, &ret, sizeof(ret)) != sizeof(ret))
		FAIL("no answer in line %d", line);
	return ret;
}
#define answer(x) answer_at(x, __LINE__)

/* It is in the call and does not come back. */
static void check_waiting(struct other *x)
{
	struct pollfd p = { .fd = x->from, .events = POLLIN };

	CHECK_EQ(poll(&p, 1, 150), 0);
}

static int ask_at(struct other *x, struct order o, int line)
{
	begin(x, o);
	return answer_at(x, line);
}
#define ask(x, ...) ask_at(x, __VA_ARGS__, __LINE__)

static struct order set(int type, off_t start, off_t len)
{
	return (struct order){ 'l', F_SETLK, type, start, len };
}

static struct order setw(int type, off_t start, off_t len)
{
	return (struct order){ 'l', F_SETLKW, type, start, len };
}

static void other_end(struct other *x, int sig)
{
	if (sig)
		OK(kill(x->pid, sig));
	else
		begin(x, (struct order){ .what = 'q' });
	OK(waitpid(x->pid, NULL, 0));
	OK(close(x->to));
	OK(close(x->from));
}

/* ---- locks of processes ---- */

static void test_process(void)
{
	make_file("p", "some text");
	int fd = open_ok("p", O_RDWR), ro = open_ok("p", O_RDONLY);
	struct other x = other_new("p");

	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	CHECK_EQ(ask(&x, set(F_RDLCK, 19, 1)), EAGAIN);
	CHECK_EQ(ask(&x, set(F_WRLCK, 20, 0)), 0);
	CHECK_EQ(ask(&x, set(F_RDLCK, 0, 10)), 0);
	OK(lock(fd, F_SETLK, F_WRLCK, 10, 10)); /* one's own is never in the way */
	FAILS(lock(fd, F_SETLK, F_WRLCK, 9, 1), EAGAIN);
	OK(lock(fd, F_SETLK, F_RDLCK, 9, 1));
	struct flock fl = who(fd, F_GETLK, 0, 0);
	CHECK_EQ(fl.l_type, F_RDLCK);
	CHECK_EQ(fl.l_start, 0);
	CHECK_EQ(fl.l_len, 10);
	CHECK_EQ(fl.l_pid, x.pid);
	fl = who(fd, F_GETLK, 15, 100);
	CHECK_EQ(fl.l_type, F_WRLCK);
	CHECK_EQ(fl.l_start, 20);
	CHECK_EQ(fl.l_len, 0);
	CHECK_EQ(who(fd, F_GETLK, 10, 10).l_type, F_UNLCK);
	/* from the end of the file backwards */
	CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
	struct flock back = { .l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = 0, .l_len = -4 };
	OK(fcntl(fd, F_SETLK, &back));
	CHECK_EQ(ask(&x, set(F_RDLCK, 4, 1)), 0);
	CHECK_EQ(ask(&x, set(F_RDLCK, 5, 1)), EAGAIN);
	/* what was opened for reading locks for reading */
	FAILS(lock(ro, F_SETLK, F_WRLCK, 50, 1), EBADF);
	OK(lock(ro, F_SETLK, F_RDLCK, 50, 1));
	CHECK_EQ(ask(&x, set(F_WRLCK, 50, 1)), EAGAIN);
	/* any close ends them all */
	CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
	OK(close(ro));
	CHECK_EQ(ask(&x, set(F_WRLCK, 0, 0)), 0);
	CHECK_EQ(ask(&x, (struct order){ .what = 'o' }), 0);
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	other_end(&x, 0);

	/* a child has none of them, and its end changes nothing */
	pid_t pid = (pid_t)OK(fork());
	if (pid == 0)
		_exit(lock(fd, F_SETLK, F_WRLCK, 0, 1) == -1 && errno == EAGAIN && !close(fd) ? 0 : 1);
	int status;
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	x = other_new("p");
	CHECK_EQ(ask(&x, set(F_RDLCK, 0, 1)), EAGAIN);
	OK(close(fd));
	CHECK_EQ(ask(&x, set(F_WRLCK, 0, 0)), 0);
	/* a process that is killed */
	other_end(&x, SIGKILL);
	fd = open_ok("p", O_RDWR);
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	OK(close(fd));
}

static void test_wait(void)
{
	make_file("w", "");
	int fd = open_ok("w", O_RDWR);
	struct other x = other_new("w"), y = other_new("w");

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	begin(&x, setw(F_WRLCK, 5, 1));
	begin(&y, setw(F_RDLCK, 9, 10));
	check_waiting(&x);
	check_waiting(&y);
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 8));
	CHECK_EQ(answer(&x), 0);
	check_waiting(&y);
	OK(close(open_ok("w", O_RDONLY))); /* the end of a lock, too */
	CHECK_EQ(answer(&y), 0);

	/* two that wait, the first is killed, and so is who holds it */
	CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
	CHECK_EQ(ask(&y, set(F_WRLCK, 0, 0)), 0);
	begin(&x, setw(F_WRLCK, 0, 0));
	check_waiting(&x);
	other_end(&x, SIGKILL);
	x = other_new("w");
	begin(&x, setw(F_WRLCK, 0, 0));
	check_waiting(&x);
	other_end(&y, SIGKILL);
	CHECK_EQ(answer(&x), 0);
	other_end(&x, 0);
	OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	OK(close(fd));
}

static void test_signal(void)
{
	make_file("s", "");
	int fd = open_ok("s", O_RDWR);
	struct other x = other_new("s");

	for (int i = 0; i < 20; i++) {
		OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
		begin(&x, i % 2 ? setw(F_WRLCK, 0, 20) : (struct order){ 'f', 0, LOCK_UN, 0, 0 });
		if (i % 2) {
			if (i < 8)
				check_waiting(&x); /* else it may not even have begun to wait */
			do {
				OK(kill(x.pid, SIGUSR1));
				struct pollfd p = { .fd = x.from, .events = POLLIN };
				if (poll(&p, 1, 20) == 1)
					break;
			} while (1);
			CHECK_EQ(answer(&x), EINTR);
		} else {
			CHECK_EQ(answer(&x), 0);
		}
		OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
		/* it has left nothing behind */
		OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
		OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	}
	/* an interrupt that meets the grant: one of the two, and no lock that nobody has */
	for (int i = 0; i < 100; i++) {
		OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
		begin(&x, setw(F_WRLCK, 0, 20));
		pause_ms(i % 5);
		OK(kill(x.pid, SIGUSR1));
		OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
		int got = answer(&x);
		CHECK(got == 0 || got == EINTR);
		if (got == 0) {
			FAILS(lock(fd, F_SETLK, F_WRLCK, 0, 1), EAGAIN);
			CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
		}
		OK(lock(fd, F_SETLK, F_WRLCK, 0, 0));
		OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	}
	other_end(&x, 0);
	OK(close(fd));
}

static void test_deadlock(void)
{
	make_file("d", "");
	int fd = open_ok("d", O_RDWR);
	struct other x = other_new("d"), y = other_new("d");

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 1));
	CHECK_EQ(ask(&x, set(F_WRLCK, 1, 1)), 0);
	CHECK_EQ(ask(&y, set(F_WRLCK, 2, 1)), 0);
	begin(&x, setw(F_WRLCK, 0, 1));
	check_waiting(&x);
	begin(&y, setw(F_WRLCK, 1, 1));
	check_waiting(&y);
	FAILS(lock(fd, F_SETLKW, F_WRLCK, 2, 1), EDEADLK);
	OK(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	CHECK_EQ(answer(&x), 0);
	check_waiting(&y);
	CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
	CHECK_EQ(answer(&y), 0);
	other_end(&x, 0);
	other_end(&y, 0);
	OK(close(fd));
}

/* ---- locks of open files ---- */

static void test_open_file(void)
{
	make_file("o", "");
	int a = open_ok("o", O_RDWR), b = open_ok("o", O_RDWR), dup_a = (int)OK(dup(a));

	OK(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
	FAILS(lock(b, F_OFD_SETLK, F_RDLCK, 9, 1), EAGAIN);
	OK(lock(b, F_OFD_SETLK, F_WRLCK, 10, 10));
	FAILS(lock(b, F_SETLK, F_WRLCK, 0, 1), EAGAIN); /* and a process's are others' */
	OK(lock(dup_a, F_OFD_SETLK, F_WRLCK, 0, 5));
	struct flock fl = who(b, F_OFD_GETLK, 0, 0);
	CHECK_EQ(fl.l_type, F_WRLCK);
	CHECK_EQ(fl.l_start, 0);
	CHECK_EQ(fl.l_len, 10);
	/* a close of another one changes nothing, nor one of two descriptors */
	OK(close(open_ok("o", O_RDONLY)));
	OK(close(a));
	FAILS(lock(b, F_OFD_SETLK, F_RDLCK, 0, 10), EAGAIN);
	/* a child shares it */
	pid_t pid = (pid_t)OK(fork());
	if (pid == 0)
		_exit(lock(dup_a, F_OFD_SETLK, F_RDLCK, 0, 10) ? 1 : 0);
	int status;
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	OK(lock(b, F_OFD_SETLK, F_RDLCK, 0, 10));
	OK(lock(b, F_OFD_SETLK, F_UNLCK, 0, 10));
	OK(lock(dup_a, F_OFD_SETLK, F_WRLCK, 0, 10));
	/* the last close ends it */
	OK(close(dup_a));
	SOON(lock(b, F_OFD_SETLK, F_WRLCK, 0, 10));
	/* who waits for it gets it then */
	a = open_ok("o", O_RDWR);
	pid = (pid_t)OK(fork());
	if (pid == 0) {
		close(b);
		_exit(lock(a, F_OFD_SETLKW, F_WRLCK, 0, 10) ? 1 : 0);
	}
	pause_ms(50);
	OK(waitpid(pid, &status, WNOHANG));
	OK(close(b));
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	OK(close(a));
}

/* ---- flock ---- */

static void test_flock(void)
{
	make_file("f", "");
	struct other x = other_new("f"); /* before it could inherit what is opened here */
	int a = open_ok("f", O_RDONLY), b = open_ok("f", O_RDWR), dup_a = (int)OK(dup(a));

	OK(flock(a, LOCK_SH | LOCK_NB));
	OK(flock(b, LOCK_SH | LOCK_NB));
	FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	OK(flock(b, LOCK_UN));
	OK(flock(a, LOCK_EX | LOCK_NB));
	FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	OK(lock(b, F_SETLK, F_WRLCK, 0, 0)); /* another kind */
	OK(flock(dup_a, LOCK_EX | LOCK_NB));
	OK(close(a));
	FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
	begin(&x, (struct order){ 'f', 0, LOCK_EX, 0, 0 });
	check_waiting(&x);
	OK(kill(x.pid, SIGUSR1));
	CHECK_EQ(answer(&x), EINTR);
	begin(&x, (struct order){ 'f', 0, LOCK_EX, 0, 0 });
	check_waiting(&x);
	OK(close(dup_a));
	CHECK_EQ(answer(&x), 0);
	FAILS(flock(b, LOCK_SH | LOCK_NB), EWOULDBLOCK);
	CHECK_EQ(ask(&x, (struct order){ 'f', 0, LOCK_SH, 0, 0 }), 0);
	OK(flock(b, LOCK_SH));
	/* both change to exclusive: neither waits for ever */
	begin(&x, (struct order){ 'f', 0, LOCK_EX, 0, 0 });
	check_waiting(&x);
	pid_t pid = (pid_t)OK(fork());
	if (pid == 0)
		_exit(flock(b, LOCK_EX) ? 1 : 0); /* lets go of the shared one first */
	CHECK_EQ(answer(&x), 0);
	CHECK_EQ(ask(&x, (struct order){ 'f', 0, LOCK_UN, 0, 0 }), 0);
	int status;
	OK(waitpid(pid, &status, 0));
	CHECK_EQ(status, 0);
	CHECK_EQ(ask(&x, (struct order){ 'f', 0, LOCK_SH | LOCK_NB, 0, 0 }), EWOULDBLOCK);
	other_end(&x, SIGKILL);
	OK(close(b));
	b = open_ok("f", O_RDWR);
	SOON(flock(b, LOCK_EX | LOCK_NB));
	OK(close(b));
}

/* Many small ones, split and joined. */
static void test_many(void)
{
	make_file("m", "");
	int fd = open_ok("m", O_RDWR);
	struct other x = other_new("m");

	for (int i = 0; i < 1000; i++)
		OK(lock(fd, F_SETLK, F_WRLCK, 2 * i, 1));
	for (int i = 0; i < 1000; i += 97) {
		CHECK_EQ(ask(&x, set(F_WRLCK, 2 * i + 1, 1)), 0);
		CHECK_EQ(ask(&x, set(F_RDLCK, 2 * i, 1)), EAGAIN);
	}
	CHECK_EQ(ask(&x, set(F_UNLCK, 0, 0)), 0);
	OK(lock(fd, F_SETLK, F_RDLCK, 0, 2000));
	CHECK_EQ(ask(&x, set(F_RDLCK, 0, 0)), 0);
	CHECK_EQ(who(fd, F_GETLK, 0, 0).l_len, 0);
	OK(close(fd));
	CHECK_EQ(ask(&x, set(F_WRLCK, 0, 0)), 0);
	other_end(&x, 0);
}

int main(void)
{
	test_process();
	test_wait();
	test_signal();
	test_deadlock();
	test_open_file();
	test_flock();
	test_many();
	return 0;
}
