#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes fill a small volume: ENOSPC for each, nothing of what was acknowledged is lost, and
# what is deleted can be used again.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 64M
drive <<'END'
FILL = r"""
from array import array

def stream(number, at, length):
    "What node number writes there: each word tells whose it is, and its place."
    first = at // 8
    words = array('Q', range(first << 2 | number, ((at + length) // 8 + 1) << 2 | number, 4))
    return words.tobytes()[at - first * 8:at - first * 8 + length]

def fill(path, number, unit):
    "Writes until ENOSPC; bytes that were acknowledged."
    fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
    done = 0
    try:
        while True:
            done += os.write(fd, stream(number, done, unit))
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
    os.fsync(fd)
    os.close(fd)
    return done

def many(directory, number):
    "Makes small files until ENOSPC; how many."
    os.mkdir(directory)
    for i in range(1000000):
        try:
            fd = os.open(f'{directory}/{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            try:
                os.write(fd, f'{number} {i}'.encode() * 80)
            finally:
                os.close(fd)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            return i

def wrong(path, number, done):
    with open(path, 'rb') as f:
        for at in range(0, done, 1 << 20):
            length = min(1 << 20, done - at)
            if f.read(length) != stream(number, at, length):
                return f'in the MiB at {at}'
    return ''

def free():
    st = os.statvfs('/csv/lab')
    return st.f_bfree * st.f_frsize
"""


def begin_all(text):
    for node in n.values():
        node.begin(text.replace('{N}', str(node.number)), 'eval')
    return {node.number: node.end() for node in n.values()}


for node in n.values():
    node(FILL)
empty = n[1]['free()']
for name, unit in (('large', 1 << 20), ('blocks', 4096), ('odd', 10000)):
    begin = time.monotonic()
    done = begin_all(f'fill("{MNT}/{name}-{{N}}", {{N}}, {unit})')
    left = n[2]['free()']
    total = sum(done.values())
    # metadata, and clusters that another node's file had been given
    if total < empty * 0.8:
        fail(f'{name}: ENOSPC after {total} of {empty} bytes, {left} free')
    refuse(errno.ENOSPC, n[2], f'fd = os.open("{MNT}/{name}-2", os.O_WRONLY | os.O_APPEND); '
                               f'[os.write(fd, bytes(1 << 20)) for i in range(8)]')
    n[2]('os.close(fd)')
    for number, count in done.items():
        for reader in (n[number], n[number % 3 + 1]):
            same(f'{name}: what node {reader.number} finds wrong of node {number}',
                 reader[f'wrong("{MNT}/{name}-{number}", {number}, {count})'], '')
    on_all(f'os.unlink("{MNT}/{name}-{{N}}")')
    wait_for(20, lambda: n[1]['free()'] > empty * 0.98, f'for space: {n[1]["free()"]} of {empty}')
    print(f'{name}: {total} of {empty} bytes, {left} left, {time.monotonic() - begin:.1f} s', flush=True)

# names and inodes instead of data
begin = time.monotonic()
n[1](f'fd = os.open("{MNT}/ballast", os.O_CREAT | os.O_WRONLY); '
     f'os.posix_fallocate(fd, 0, {int(empty * 0.96) >> 20 << 20}); os.close(fd)')
made = begin_all(f'many("{MNT}/d{{N}}", {{N}})')
for number, count in made.items():
    if count < 50:
        fail(f'node {number} could make {count} files')
    here = n[number % 3 + 1]
    same('entries', here[f'len(os.listdir("{MNT}/d{number}")) - {count} in (0, 1)'], True)
    same('files', here[f'[i for i in range({count}) if open(f"{MNT}/d{number}/{{i}}").read() != f"{number} {{i}}" * 80]'], [])
on_all(f'[os.unlink("{MNT}/d{{N}}/" + name) for name in os.listdir("{MNT}/d{{N}}")]; os.rmdir("{MNT}/d{{N}}")')
n[3](f'os.unlink("{MNT}/ballast")')
wait_for(20, lambda: n[2]['free()'] > empty * 0.98, 'for space')
print(f'names: {made}, {time.monotonic() - begin:.1f} s')
END
volume_clean
