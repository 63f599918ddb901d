# SPDX-License-Identifier: GPL-2.0-or-later
# Run by locks.sh and locks_twin.sh through drive() of cluster.bash. HOWS: how a counter is guarded.

COUNT = r"""
import struct

def count(path, how, rounds, ready, go):
    "Adds 1 to the number in a file, rounds times, under a lock."
    fd = os.open(path, os.O_RDWR)
    open(ready, 'w').close()
    while not os.path.exists(go):
        time.sleep(0.01)
    for _ in range(rounds):
        if how == 'fcntl':
            fcntl.lockf(fd, fcntl.LOCK_EX, 8, 0)
        elif how == 'flock':
            fcntl.flock(fd, fcntl.LOCK_EX)
        value = struct.unpack('<Q', os.pread(fd, 8, 0))[0]
        os.pwrite(fd, struct.pack('<Q', value + 1), 0)
        if how == 'fcntl':
            fcntl.lockf(fd, fcntl.LOCK_UN, 8, 0)
        elif how == 'flock':
            fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)
"""
ROUNDS = 150

wait_for(40, coordinator, 'for a coordinator')
for node in n.values():
    node(COUNT)
for how in HOWS:
    path, go = f'{MNT}/count-{how}', f'{os.environ["TMP"]}/go-{how}'
    n[1](f'fd = os.open({path!r}, os.O_CREAT | os.O_WRONLY); os.write(fd, bytes(8192)); os.close(fd)')
    for node in n.values():
        node.begin(f'count({path!r}, {how!r}, {ROUNDS}, "{go}-{node.number}", {go!r})', 'eval')
    wait_for(20, lambda: all(os.path.exists(f'{go}-{i}') for i in n), 'for all to be ready')
    open(go, 'w').close()
    at = time.monotonic()
    for node in n.values():
        node.end()
    took = time.monotonic() - at
    value = int.from_bytes(n[2][f'open({path!r}, "rb").read(8)'], 'little')
    print(f'{how}: {value} of {3 * ROUNDS}, {took * 1e6 / 3 / ROUNDS:.0f} µs each', flush=True)
    same(f'the number of additions ({how})', value, 3 * ROUNDS)
