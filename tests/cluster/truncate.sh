#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One node truncates a file, grows and rewrites it; readers on other nodes never see a byte past the
# new end, nor an old one after the file has grown again.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
# The writer tells in memory that all share (a file of the host) what may be seen. A word that is
# not zero names the generation that wrote it. `state`: even while nothing changes.
#   state, cut: words from here on are zero or of a generation >= floor; size: bytes, when state is even
SHARED = r"""
board_fd = os.open(board_path, os.O_RDWR | os.O_CREAT)
os.ftruncate(board_fd, 4096)
board = mmap.mmap(board_fd, 4096)

def tell(state, cut, floor, size, stop=0):
    board[8:40] = struct.pack('<QQQQ', cut, floor, size, stop)
    board[:8] = struct.pack('<Q', state)

def seen():
    return struct.unpack('<QQQQQ', board[:40])
"""
WRITER = r"""
def writer(path, words, rounds):
    fd = os.open(path, os.O_RDWR)
    state = 0
    for gen in range(1, rounds + 1):
        os.pwrite(fd, struct.pack('<Q', gen) * words, 0)
        # all is of generation gen; the next truncation begins
        cut = random.choice((0, 1, 511, 512, 513, words // 2 + 3, words - 1))
        state += 2 - (gen == 1)
        tell(state, words, gen, words * 8)
        os.ftruncate(fd, cut * 8)
        state += 1
        tell(state, cut, gen + 1, cut * 8)
        time.sleep(0.01)
        if gen % 2:
            state += 1
            tell(state, cut, gen + 1, words * 8)
            os.ftruncate(fd, words * 8)
        else:   # it grows by a write far out
            state += 1
            tell(state, cut, gen + 1, words * 8)
            os.pwrite(fd, struct.pack('<Q', gen + 1), words * 8 - 8)
        state += 1
        tell(state, cut, gen + 1, words * 8)
        time.sleep(0.01)
        state += 1      # generation gen + 1 is written over it: cut and floor still hold
        tell(state, cut, gen + 1, words * 8)
    os.close(fd)
    tell(state + 1, 0, 0, 0, 1)
    return state
"""
READER = r"""
def reader(path, words):
    fd = os.open(path, os.O_RDONLY)
    bad, quiet, reads = [], 0, 0
    while len(bad) < 5:
        before = seen()
        if before[4]:
            break
        text = os.pread(fd, words * 8, 0)
        after = seen()
        if after[4]:
            break
        reads += 1
        state, cut, floor, size, _ = before
        if state == after[0] and state and state % 2 == 0:
            quiet += 1
            if len(text) != size:
                bad.append(f'state {state}: {len(text)} bytes, the file has {size}')
        if state % 2 == 0 and state:
            for i, (word,) in enumerate(struct.iter_unpack('<Q', text[cut * 8:len(text) // 8 * 8])):
                if word and word < floor:
                    bad.append(f'state {state}: word {cut + i} of {len(text) // 8} is of {word}, not {floor} or later')
                    break
    os.close(fd)
    return bad, quiet, reads
"""
WORDS = 24000
for node in n.values():
    node(f'board_path = "{os.environ["TMP"]}/board"')
    node(SHARED)
n[1](WRITER)
n[1](f'os.close(os.open("{MNT}/truncated", os.O_CREAT | os.O_WRONLY))')
for node in (n[2], n[3]):
    node(READER)
    node.begin(f'reader("{MNT}/truncated", {WORDS})', 'eval')
n[1].begin(f'writer("{MNT}/truncated", {WORDS}, 100)', 'eval')
states = n[1].end()
for node in (n[2], n[3]):
    bad, quiet, reads = node.end()
    same(f'what node {node.number} saw', bad, [])
    print(f'node {node.number}: {reads} reads, {quiet} of them while nothing changed')
    if reads < 50 or quiet < 10:
        fail(f'only {reads} reads, {quiet} quiet ones: this shows nothing')
END
volume_clean
