#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Extended attributes and access lists hold on all nodes at once; set-user-id that one node gives goes
# with the next write of another, which has been writing all the while; attributes outlive the
# coordinator, and a set that it died with is carried out once.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 1G
drive <<'END'
for k in (1, 2, 3):
    n[k](f'os.chdir("{MNT}")')
n[1]('open("f", "w").write("text"); os.chmod("f", 0o777)')

# attributes
for size in (1, 3000, 65536):
    n[1](f'os.setxattr("f", "user.a", b"1" * {size})')
    same('on node 2', n[2]['os.getxattr("f", "user.a")'], b'1' * size)
    n[2](f'os.setxattr("f", "user.a", b"2" * {size}, os.XATTR_REPLACE)')
    same('on node 3', n[3]['os.getxattr("f", "user.a")'], b'2' * size)
n[3]('os.setxattr("f", "trusted.b", b"b")')
same('names', n[1]['sorted(os.listxattr("f"))'], ['trusted.b', 'user.a'])
refuse(errno.EEXIST, n[2], 'os.setxattr("f", "user.a", b"", os.XATTR_CREATE)')
n[1]('os.removexattr("f", "user.a")')
refuse(errno.ENODATA, n[2].__getitem__, 'os.getxattr("f", "user.a")')

# Who creates an attribute: one of three.
for turn in range(20):
    for k in (1, 2, 3):
        n[k].begin(f'''
try:
    os.setxattr("f", "user.turn{turn}", b"{k}", os.XATTR_CREATE)
    won = True
except FileExistsError:
    won = False
''')
    for k in (1, 2, 3):
        n[k].end()
    winners = [k for k in (1, 2, 3) if n[k]['won']]
    same('winners', len(winners), 1)
    same('value', n[1 + turn % 3][f'os.getxattr("f", "user.turn{turn}")'], str(winners[0]).encode())

# Access lists: for uid 1001 on all nodes, from the moment that the call has returned.
AS = '''
def as_user(uid, what):
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([]); os.setgid(uid); os.setuid(uid)
            what()
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
def acl(*entries):
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', t, p, i & 0xffffffff) for t, p, i in entries)
fd = None
'''
for k in (1, 2, 3):
    n[k](AS)
n[1]('open("secret", "w").write("secret"); os.chmod("secret", 0o600)')
READ = 'as_user(1001, lambda: open("secret").read())'
same('without a list', [n[k][READ] for k in (1, 2, 3)], [errno.EACCES] * 3)
for turn in range(5):
    n[2]('os.setxattr("secret", "system.posix_acl_access", '
         'acl((1, 6, -1), (2, 4, 1001), (4, 0, -1), (16, 4, -1), (32, 0, -1)))')
    same('with it', [n[k][READ] for k in (1, 2, 3)], [0] * 3)
    same('mode', n[3]['os.stat("secret").st_mode & 0o7777'], 0o640)
    n[3]('os.chmod("secret", 0o600)')
    same('with an empty mask', [n[k][READ] for k in (1, 2, 3)], [errno.EACCES] * 3)
    n[1]('os.chmod("secret", 0o640)')
    same('with the mask back', [n[k][READ] for k in (1, 2, 3)], [0] * 3)
    n[3]('os.removexattr("secret", "system.posix_acl_access")')
    same('taken away', [n[k][READ] for k in (1, 2, 3)], [errno.EACCES] * 3)
    n[1]('os.chmod("secret", 0o600)')

# Set-user-id and a writer that holds its token. Small and large: in the inode, in blocks.
for size in (10, 200000):
    n[1](f'open("prog", "w").write("p" * {size}); os.chmod("prog", 0o777)')
    n[2]('fd = os.open("prog", os.O_RDWR)')
    WRITE = 'as_user(1001, lambda: os.pwrite(fd, b"w" * 10, 0))'
    same('write', n[2][WRITE], 0)
    for turn in range(5):
        n[1]('os.chmod("prog", 0o6777)')
        same('set', n[3]['os.stat("prog").st_mode & 0o7777'], 0o6777)
        same('write', n[2][WRITE], 0)
        same('gone', n[3]['os.stat("prog").st_mode & 0o7777'], 0o777)
        n[3]('os.setxattr("prog", "security.capability", bytes.fromhex("0100000200200000" + "00" * 12))')
        same('write', n[2][WRITE], 0)
        refuse(errno.ENODATA, n[1].__getitem__, 'os.getxattr("prog", "security.capability")')
    n[2]('os.close(fd)')

# The coordinator goes, in the middle of sets.
who = wait_for(20, coordinator)
worker, other = [n[k] for k in (1, 2, 3) if k != who]
worker('''
count = 0
stop = threading.Event()
def work():
    global count
    while not stop.is_set():
        os.setxattr("f", f"user.n{count}", b"v" * (count * 37 % 5000), os.XATTR_CREATE)
        if count >= 10:
            os.removexattr("f", f"user.n{count - 10}")
        count += 1
failed = []
def run():
    try:
        work()
    except OSError as e:
        failed.append(str(e))
thread = threading.Thread(target=run)
thread.start()
''')
wait_for(20, lambda: worker['count'] > 50)
kill_mount(n[who])
before = worker['count']
wait_for(60, lambda: worker['count'] > before + 50)
worker('stop.set(); thread.join()')
same('failed', worker['failed'], [])
count = worker['count']
names = sorted(f'user.n{i}' for i in range(count - 10, count))
same('names', other['sorted(x for x in os.listxattr("f") if x.startswith("user.n"))'], names)
for i in range(count - 10, count):
    same('value', other[f'os.getxattr("f", "user.n{i}")'], b'v' * (i * 37 % 5000))
END
volume_clean
