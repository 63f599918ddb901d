#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Nodes that write into the same unallocated space at the same time lose nothing to each other: blocks
# in turn, neighbours within a block, large writes side by side; what nobody wrote reads as zeroes.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
# Node N writes pieces N - 1, N + 2, ... of `unit` bytes, in random order, from several threads; each
# piece says whose it is and where. `every`: only each so many turns, the rest stays a hole.
WRITER = r"""
def piece(number, at, unit):
    return struct.pack('<QQ', number, at) * (unit // 16)

def write_mine(path, number, unit, turns, every, threads):
    places = [(turn * 3 + number - 1) * unit for turn in range(0, turns, every)]
    random.shuffle(places)
    failed = []

    def one(mine):
        try:
            fd = os.open(path, os.O_RDWR)
            for at in mine:
                if os.pwrite(fd, piece(number, at, unit), at) != unit:
                    raise RuntimeError(f'short write at {at}')
            os.close(fd)
        except BaseException as e:
            failed.append(e)

    all = [threading.Thread(target=one, args=(places[i::threads],)) for i in range(threads)]
    for t in all:
        t.start()
    for t in all:
        t.join()
    if failed:
        raise failed[0]

def wrong(path, unit, turns, every):
    with open(path, 'rb') as f:
        text = f.read()
    bad = []
    for turn in range(turns):
        for number in (1, 2, 3):
            at = (turn * 3 + number - 1) * unit
            want = piece(number, at, unit) if turn % every == 0 else bytes(unit)
            got = text[at:at + unit]
            if got != want and not (turn % every and not got):
                bad.append((at, number, got[:16]))
    return bad
"""
CASES = [  # name, unit, turns, every, threads
    ('blocks', 4096, 800, 1, 8),
    ('blocks-sparse', 4096, 300, 5, 8),
    ('sectors', 512, 600, 1, 4),
    ('sectors-sparse', 512, 600, 7, 4),
    ('odd', 1008, 500, 1, 4),       # neither sectors nor blocks: each crosses into its neighbour's
    ('clusters', 65536, 40, 1, 4),
    ('large', 1 << 20, 8, 1, 2),
    ('uneven', 65536 - 4096, 60, 2, 4),
]
for node in n.values():
    node(WRITER)
for name, unit, turns, every, threads in CASES:
    path = f'{MNT}/{name}'
    n[1](f'os.close(os.open({path!r}, os.O_CREAT | os.O_WRONLY))')
    begin = time.monotonic()
    on_all(f'write_mine({path!r}, {{N}}, {unit}, {turns}, {every}, {threads})')
    for node in n.values():
        same(f'{name}: what is wrong on node {node.number}',
             node[f'wrong({path!r}, {unit}, {turns}, {every})'], [])
    print(f'{name}: {time.monotonic() - begin:.1f} s', flush=True)
END
volume_clean
