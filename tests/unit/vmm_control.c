/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* The control socket and its clients, hostile ones too; the console behind it. */
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "util/checked.h"
#include "util/loop.h"
#include "vmm/console.h"
#include "vmm/control.h"
#include "vmm/control_socket.h"

static char dir[] = "/tmp/vmm_control.XXXXXX";
static struct loop *loop;
static struct vmm_control *control;
static struct vmm_console *console;
static int nr_runs;

static int echo(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct json_object *text;

	nr_runs++;
	CHECK(arg == &nr_runs);
	if (!json_object_object_get_ex(request, "text", &text))
		return -EINVAL;
	json_object_object_add(result, "text", json_object_get(text));
	return 0;
}

/* Tells everybody, the one who asks as well. */
static int shout(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	struct json_object *event = json_object_new_object();

	json_object_object_add(event, "event", json_object_new_string("shout"));
	vmm_control_event(control, event);
	return 0;
}

static int refuse(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	*ret_error = strdup("it is not to be");
	return -EBUSY;
}

static int nothing(void *arg, struct json_object *request, struct json_object *result, char **ret_error)
{
	return 0;
}

static void attach(void *arg, int fd, const void *bytes, size_t len_bytes)
{
	CHECK_OK(vmm_console_attach(console, fd, bytes, len_bytes));
}

static const struct vmm_command commands[] = {
	{ "echo", echo, VMM_THEN_GOES_ON },
	{ "shout", shout, VMM_THEN_GOES_ON },
	{ "refuse", refuse, VMM_THEN_GOES_ON },
	{ "events", nothing, VMM_THEN_EVENTS },
	{ "console", nothing, VMM_THEN_CONSOLE },
	{ NULL, NULL, VMM_THEN_GOES_ON },
};

static int start(const char *name, struct vmm_control **ret_control)
{
	struct vmm_control_conf conf = { .loop = loop, .dir = dir, .name = name, .commands = commands,
		.arg = &nr_runs, .console = attach };
	char *error;
	int err = vmm_control_new(&conf, ret_control, &error);

	if (err)
		CHECK(error);
	free(error);
	return err;
}

static void turn(int times)
{
	while (times--)
		loop_run_once(loop, false);
}

static int client(void)
{
	int fd = vmm_socket_connect(dir, "a");

	CHECK(fd >= 0);
	turn(3);
	return fd;
}

static void say(int fd, const char *text)
{
	CHECK_EQ(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	turn(5);
}

/* All that has come, up to a second after nothing came. */
static const char *hear(int fd)
{
	static char buf[1 << 20];
	size_t len = 0;
	ssize_t n;

	do {
		turn(5);
		n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT);
		len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	buf[len] = '\0';
	return buf;
}

static bool is_closed(int fd)
{
	char byte;

	turn(5);
	return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void talk(int fd, const char *request, const char *answer)
{
	say(fd, request);
	if (strcmp(hear(fd), answer) != 0) {
		fprintf(stderr, "%s: %s and not %s", request, hear(fd), answer);
		CHECK(!"the answer");
	}
}

static void requests(void)
{
	static const char no_cmd[] = "{\"error\":\"the request is not a JSON object with a \\\"cmd\\\"\"}\n";
	static const char *const bad[] = { "\n", "null\n", "[]\n", "{}\n", "{\"cmd\":7}\n", "{\"cmd\":\"echo\"\n",
		"\xff\xfe\n", "{\"cmd\":\"echo\"} {}\n", "\"echo\"\n", "{\"cmd\":null}\n", "{'cmd':'echo'}\n",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n" };
	int fd = client();

	talk(fd, "{\"cmd\":\"echo\",\"text\":\"x\"}\n", "{\"result\":{\"text\":\"x\"}}\n");
	talk(fd, "{\"cmd\":\"echo\",\"id\":[7],\"text\":1}\n", "{\"id\":[7],\"result\":{\"text\":1}}\n");
	talk(fd, "{\"cmd\":\"echo\"}\n", "{\"error\":\"Invalid argument\"}\n");
	talk(fd, "{\"cmd\":\"refuse\",\"id\":2}\n", "{\"id\":2,\"error\":\"it is not to be\"}\n");
	talk(fd, "{\"cmd\":\"ech\"}\n", "{\"error\":\"there is no such command\"}\n");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		talk(fd, bad[i], no_cmd);
	/* in pieces, and two at once */
	nr_runs = 0;
	say(fd, "{\"cmd\":\"ec");
	CHECK(*hear(fd) == '\0');
	talk(fd, "ho\",\"text\":1}\n{\"cmd\":\"echo\",\"text\":2}\n",
		"{\"result\":{\"text\":1}}\n{\"result\":{\"text\":2}}\n");
	CHECK_EQ(nr_runs, 2);
	/* half a line is not a request */
	say(fd, "{\"cmd\":\"echo\",\"text\":1}");
	close(fd);
	turn(5);
	CHECK_EQ(nr_runs, 2);
}

static void too_long(void)
{
	int fd = client();

	for (int i = 0; i < VMM_LINE_MAX / 16; i++)
		say(fd, "0123456789abcdef");
	CHECK(strcmp(hear(fd), "{\"error\":\"the request is too long\"}\n") == 0);
	CHECK(is_closed(fd));
	close(fd);
}

static void many(void)
{
	int fds[80], fd;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = client();
	talk(fds[0], "{\"cmd\":\"echo\",\"text\":1}\n", "{\"result\":{\"text\":1}}\n");
	CHECK(strstr(hear(fds[79]), "too many"));
	CHECK(is_closed(fds[79]));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	turn(100);
	fd = client();
	talk(fd, "{\"cmd\":\"echo\",\"text\":1}\n", "{\"result\":{\"text\":1}}\n");
	close(fd);
}

/* Who never reads, neither answers nor events, is let go, and holds nobody up. */
static void never_reads(void)
{
	int mute = client(), fd = client();
	bool gone = false;

	say(mute, "{\"cmd\":\"events\"}\n");
	for (int i = 0; i < 100000 && !gone; i++) {
		talk(fd, "{\"cmd\":\"shout\"}\n", "{\"result\":{}}\n");
		gone = send(mute, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE;
	}
	CHECK(gone);
	close(mute);
	close(fd);
	/* requests without end: only as many are carried out as answers find room */
	mute = client();
	nr_runs = 0;
	for (int i = 0; i < 100000; i++) {
		(void)!send(mute, "{\"cmd\":\"echo\",\"text\":1}\n", 24, MSG_NOSIGNAL | MSG_DONTWAIT);
		turn(1);
	}
	CHECK(nr_runs > 0 && nr_runs < 100000);
	close(mute);
	turn(5);
}

static void events(void)
{
	int a = client(), b = client();

	talk(a, "{\"cmd\":\"events\"}\n", "{\"result\":{}}\n");
	/* who shouts hears it, too, if he listens */
	talk(b, "{\"cmd\":\"shout\"}\n", "{\"result\":{}}\n");
	CHECK(strcmp(hear(a), "{\"event\":\"shout\"}\n") == 0);
	talk(a, "{\"cmd\":\"shout\"}\n", "{\"event\":\"shout\"}\n{\"result\":{}}\n");
	close(a);
	close(b);
	turn(5);
}

static void put(const char *text)
{
	while (*text)
		vmm_console_put(console, (uint8_t)*text++);
}

static void scrollback(void)
{
	int a = client(), b;
	const char *got;

	put("early ");
	talk(a, "{\"cmd\":\"console\"}\n", "{\"result\":{}}\nearly ");
	put("late");
	CHECK(strcmp(hear(a), "late") == 0);
	/* what is more than it keeps; a reads nothing of it, and nobody waits for that */
	for (unsigned int i = 0; i < VMM_SCROLLBACK / 4; i++)
		put("0123456789abcdef");
	put("end");
	b = client();
	say(b, "{\"cmd\":\"console\"}\ntyped");
	got = hear(b);
	CHECK_EQ(strlen(got), strlen("{\"result\":{}}\n") + VMM_SCROLLBACK);
	CHECK(strcmp(got + strlen(got) - 19, "0123456789abcdefend") == 0);
	got = hear(a);
	CHECK(strcmp(got + strlen(got) - 19, "0123456789abcdefend") == 0);
	close(a);
	turn(5);
	put("!");
	CHECK(strcmp(hear(b), "!") == 0);
	close(b);
	turn(5);
}

static void names(void)
{
	struct vmm_control *other = NULL;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	char path[200];
	int fd;

	snprintf(path, sizeof(path), "%s/a.sock", dir);
	CHECK_OK(stat(path, &st));
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(start("a", &other), -EEXIST);
	CHECK_OK(start("b", &other));
	vmm_control_free(other);
	CHECK_EQ(vmm_socket_connect(dir, "b"), -ENOENT);
	/* of one that was killed */
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/c.sock", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_OK(bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	CHECK_OK(listen(fd, 1));
	CHECK_EQ(start("c", &other), -EEXIST);
	close(fd);
	CHECK_EQ(vmm_socket_connect(dir, "c"), -ECONNREFUSED);
	CHECK_OK(start("c", &other));
	vmm_control_free(other);
	CHECK_EQ(vmm_socket_remove_stale(dir, "a"), -EEXIST);
	/* what is no socket stays */
	fd = open(addr.sun_path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	CHECK_EQ(start("c", &other), -ENOTSOCK);
	unlink(addr.sun_path);
	/* where others may write nobody is safe */
	CHECK_OK(chmod(dir, 0777));
	CHECK_EQ(start("d", &other), -EPERM);
	CHECK_OK(chmod(dir, 0700));
}

int main(void)
{
	CHECK(mkdtemp(dir));
	CHECK_OK(loop_new(&loop));
	CHECK_OK(vmm_console_new(loop, &console));
	CHECK_OK(start("a", &control));
	requests();
	too_long();
	many();
	never_reads();
	events();
	scrollback();
	names();
	vmm_control_free(control);
	vmm_console_free(console);
	loop_free(loop);
	CHECK_OK(rmdir(dir));
	return 0;
}
