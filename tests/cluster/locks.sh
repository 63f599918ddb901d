#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fcntl and flock locks hold between nodes: no addition to a shared number is lost; a circle of two nodes
# is seen; QEMU refuses an image that another node runs; locks outlive the coordinator and end with
# their node; a close of a file without locks costs no request.
# timeout: 240
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need qemu-img qemu-io qemu-system-x86_64

lab_up --nodes 3 --size 1G
DRIVE_WITH='HOWS=["fcntl", "flock"]' drive <"$HERE/locks.py"
DRIVE_S=150 drive <<'END'
HELP = r"""
result = None

def waits(fn, *args):
    "Begins a call that may wait; its outcome is in result."
    global result
    result = None
    def run():
        global result
        try:
            fn(*args)
            result = 'got it'
        except OSError as e:
            result = os.strerror(e.errno)
    threading.Thread(target=run, daemon=True).start()

def qemu_io(path, *commands):
    "Exit code and output."
    done = subprocess.run(['qemu-io', '-f', 'raw', *(x for c in commands for x in ('-c', c)), path],
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
"""
def later(node, wanted):
    wait_for(60, lambda: node['result'] == wanted, f'for {wanted}; it is {node["result"]}')

def calls(node):
    sent = status_of(node)['io']['calls']
    return sum(sent.get(op, 0) for op in ('OPEN', 'CLOSE', 'LOCK', 'GETLK', 'LOCK_CANCEL'))

c = wait_for(40, coordinator, 'for a coordinator')
a, b = (n[i] for i in n if i != c)      # members
for node in n.values():
    node(HELP)

# who has it, as another node sees it; a circle
path = f'{MNT}/file'
a(f'fd = os.open({path!r}, os.O_RDWR | os.O_CREAT)')
b(f'fd = os.open({path!r}, os.O_RDWR)')
GETLK = ('struct.unpack("hhqqi4x", fcntl.fcntl(fd, fcntl.F_GETLK, '
         'struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))')
for node in (a, b):
    node('import struct')
a('fcntl.lockf(fd, fcntl.LOCK_EX, 10, 100)')
same('what node b is told', b[GETLK][:4], (1, 0, 100, 10))
same('and of whose process', b[GETLK][4], 0)
refuse(errno.EAGAIN, b, 'fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 109)')
b('fcntl.lockf(fd, fcntl.LOCK_EX, 10, 200)')
a('waits(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 205)')
# until a's request is at the coordinator, b's would wait, too
wait_for(10, lambda: status_of(n[c])['coordinator']['lock_waits'] == 1, 'for a to wait')
b('waits(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 105)')
later(b, os.strerror(errno.EDEADLK))
same('node a', a['result'], None)
b('os.close(fd)')
later(a, 'got it')
a('os.close(fd)')
print('a circle of two nodes is seen', flush=True)

# QEMU
image = f'{MNT}/disk.img'
a(f'subprocess.run(["qemu-img", "create", "-q", "-f", "raw", {image!r}, "64M"], check=True)')
a(f'vm = subprocess.Popen(["qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "64", "-S", "-display", "none", '
  f'"-nodefaults", "-monitor", "stdio", "-drive", "file={image},format=raw,if=virtio"], stdin=subprocess.PIPE, '
  f'stdout=open("{os.environ["TMP"]}/qemu", "w"), stderr=subprocess.STDOUT, text=True)')
wait_for(30, lambda: a['vm.poll()'] is not None or status_of(n[c])['coordinator']['locks'] >= 2, 'for QEMU to open the image')
if a['vm.poll()'] is not None:
    fail(open(f'{os.environ["TMP"]}/qemu').read())
code, text = b[f'qemu_io({image!r}, "write -P 2 0 4096")']
if code == 0 or 'Failed to get' not in text or 'lock' not in text:
    fail(f'a second qemu-io ended {code}: {text}')
print(f'qemu-io beside a running image on another node: {text.strip()}', flush=True)
code, text = b[f'(lambda d: (d.returncode, d.stderr))(subprocess.run(["qemu-img", "resize", "-f", "raw", {image!r}, "65M"], capture_output=True, text=True))']
if code == 0 or 'Failed to get' not in text:
    fail(f'qemu-img resize ended {code}: {text}')
code, text = a[f'qemu_io({image!r}, "write -P 2 0 4096")']
if code == 0:
    fail('qemu-io on the same node was let in')
a('vm.stdin.write("quit\\n"); vm.stdin.close(); vm.wait()')
wait_for(10, lambda: b[f'qemu_io({image!r}, "write -P 2 0 4096", "read -P 2 0 4096")'][0] == 0, 'for the image')

# P1: closing what has no locks
a(f'fd = os.open({path!r}, os.O_RDWR); dup = os.dup(fd)')
before = calls(a)
a(f'[os.close(os.open({path!r}, os.O_RDWR)) for i in range(100)]')
same('calls for 100 opens and closes of an open file', calls(a) - before, 0)
a('fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0); fcntl.lockf(fd, fcntl.LOCK_UN, 10, 0)')
same('calls for a lock and its unlock', calls(a) - before, 2)
a(f'[os.close(os.open({path!r}, os.O_RDWR)) for i in range(100)]; fcntl.lockf(fd, fcntl.LOCK_UN)')
same('and nothing is unlocked again', calls(a) - before, 2)
a('os.close(dup)')

# the coordinator dies
b(f'fd = os.open({path!r}, os.O_RDWR); own = os.open("{MNT}/own", os.O_RDWR | os.O_CREAT)')
a('fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0); fcntl.flock(fd, fcntl.LOCK_EX)')
b('fcntl.lockf(own, fcntl.LOCK_EX)')
n[c](f'fd = os.open({path!r}, os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX, 10, 50)')
b('waits(fcntl.lockf, fd, fcntl.LOCK_EX, 1, 5)')
wait_for(10, lambda: status_of(n[c])['coordinator']['lock_waits'] == 1, 'for b to wait')
kill_mount(n[c])
new = wait_for(60, lambda: coordinator([a, b]), 'for another coordinator')
same('node b still waits', b['result'], None)
refuse(errno.EAGAIN, b, 'fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, 9)')
refuse(errno.EAGAIN, b, 'fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)')
b('fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50)')     # the dead node's
a(f'other = os.open("{MNT}/own", os.O_RDWR)')
refuse(errno.EAGAIN, a, 'fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB)')
a('fcntl.lockf(fd, fcntl.LOCK_UN, 10, 0)')
later(b, 'got it')
a('os.close(fd)')
wait_for(10, lambda: b['(waits(fcntl.flock, fd, fcntl.LOCK_EX), time.sleep(0.1), result)'][2] == 'got it', 'for flock')
print('locks have outlived their coordinator', flush=True)

# a node dies
b_had = b.number
a(f'fd = os.open({path!r}, os.O_RDWR); waits(fcntl.lockf, fd, fcntl.LOCK_EX, 10, 0)')
wait_for(10, lambda: status_of(n[new])['coordinator']['lock_waits'] == 1, 'for a to wait')
same('node a', a['result'], None)
at = time.monotonic()
csvlab('crash', b_had)
later(a, 'got it')
print(f'a crashed node lets go after {(time.monotonic() - at) * 1000:.0f} ms', flush=True)
END
