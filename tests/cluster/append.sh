#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Three nodes append lines to one file at the same time with O_APPEND: none is lost, doubled or torn,
# and each node's come in its order; from nothing, through what fits into the inode, and beyond.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
APPEND = r"""
def line(number, i, length):
    return f'{number} {i} '.encode().ljust(length - 1, b'abc'[number - 1:number]) + b'\n'

def append(path, number, count, longest, sync):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    for i in range(count):
        text = line(number, i, 8 + i * 7919 % longest)
        if os.write(fd, text) != len(text):
            raise RuntimeError('short write')
        if sync and i % sync == 0:
            os.fsync(fd)
    os.close(fd)
"""


def wrong(text, count, longest):
    seen = {1: 0, 2: 0, 3: 0}
    for got in text.splitlines(keepends=True):
        fields = got.split(b' ')
        if len(fields) < 3 or not fields[0].isdigit() or int(fields[0]) not in seen:
            return f'a torn line {short(got)}'
        number, i = int(fields[0]), int(fields[1])
        if i != seen[number]:
            return f'line {i} of node {number} where {seen[number]} should be'
        if got != n[1][f'line({number}, {i}, {8 + i * 7919 % longest})']:
            return f'a torn line {short(got)}'
        seen[number] += 1
    return '' if set(seen.values()) == {count} else f'lines {seen}, should be {count} of each'


for node in n.values():
    node(APPEND)
for name, count, longest, sync in (('inline', 12, 12, 1), ('through', 60, 60, 0), ('long', 150, 3000, 20),
                                   ('blocks', 40, 20000, 0)):
    path = f'{MNT}/append-{name}'
    n[1](f'os.close(os.open({path!r}, os.O_CREAT | os.O_WRONLY))')
    begin = time.monotonic()
    on_all(f'append({path!r}, {{N}}, {count}, {longest}, {sync})')
    texts = [node[f'open({path!r}, "rb").read()'] for node in n.values()]
    same(f'{name}: read elsewhere', texts[1] == texts[0] == texts[2], True)
    same(f'{name}: wrong', wrong(texts[0], count, longest), '')
    print(f'{name}: {len(texts[0])} bytes, {time.monotonic() - begin:.1f} s', flush=True)
END
volume_clean
