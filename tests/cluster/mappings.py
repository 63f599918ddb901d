# SPDX-License-Identifier: GPL-2.0-or-later
# Mappings on all nodes show one file: what mmap.sh and its twin run.
import struct

SETUP = r'''
def mapped(path, size, prot=mmap.PROT_READ | mmap.PROT_WRITE):
    fd = os.open(path, os.O_RDWR)
    try:
        return mmap.mmap(fd, size, mmap.MAP_SHARED, prot)
    finally:
        os.close(fd)

def count(m, mine, nr, rounds, seed):
    """Counts in words that are ours alone, in pages that all nodes write to."""
    rng = random.Random(seed)
    counts = [0] * nr
    for _ in range(rounds):
        i = rng.randrange(nr)
        at = mine(i)
        seen, = struct.unpack_from('<Q', m, at)
        if seen != counts[i]:
            return f'word {i} at {at} should be {counts[i]}, is {seen}'
        counts[i] += 1
        struct.pack_into('<Q', m, at, counts[i])
    return counts

def storm(path, size, seconds, seed):
    """All that there is to do with a mapped file, as fast as it goes."""
    libc = ctypes.CDLL(None, use_errno=True)
    rng = random.Random(seed)
    fd = os.open(path, os.O_RDWR)
    m = mmap.mmap(fd, size)
    end, nr = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        at, what = rng.randrange(size - 8192), rng.randrange(12)
        if what < 4:
            m[at:at + 8] = struct.pack('<Q', nr)
        elif what < 6:
            m[at:at + 6000]
        elif what == 6:
            os.pwrite(fd, bytes([nr & 255]) * rng.randrange(1, 8192), at)
        elif what == 7:
            os.pread(fd, 8192, at)
        elif what == 8:   # FALLOC_FL_KEEP_SIZE and PUNCH_HOLE, or ZERO_RANGE
            mode = rng.choice((3, 16))
            if libc.fallocate(fd, mode, ctypes.c_long(at), ctypes.c_long(rng.randrange(1, 8192))):
                raise OSError(ctypes.get_errno(), 'fallocate')
        elif what == 9:
            m.flush() if nr % 2 else os.fsync(fd)
        elif what == 10:
            os.ftruncate(fd, size + rng.randrange(8192))
        elif nr % 7 == 0:
            with open(f'{path}-{seed}', 'wb') as to:
                os.copy_file_range(fd, to.fileno(), size)
        nr += 1
    m.flush()
    os.close(fd)
    return nr
'''
on_all(f'os.chdir("{MNT}")')
on_all(SETUP)

PAGE, PAGES = 4096, 64
SIZE = PAGE * PAGES
n[1](f'fd = os.open("f", os.O_RDWR | os.O_CREAT); os.ftruncate(fd, {SIZE})')
on_all(f'm = mapped("f", {SIZE})')

# a store is what the next call elsewhere sees, whatever way it looks
for i in range(60):
    a, b, c = (random.sample(list(n.values()), 3))
    at = random.randrange(SIZE - 8)
    word = struct.pack('<Q', i + 1)
    a(f'm[{at}:{at + 8}] = {word!r}')
    same(f'mapped on node {b.number} after a store on node {a.number}', b[f'm[{at}:{at + 8}]'], word)
    same(f'read on node {c.number}', c[f'open("f", "rb").read()[{at}:{at + 8}]'], word)
    word = struct.pack('<Q', i + 1001)
    c(f'os.pwrite(os.open("f", os.O_WRONLY), {word!r}, {at})')
    same(f'mapped on node {a.number} after a write on node {c.number}', a[f'm[{at}:{at + 8}]'], word)

# a store before a truncation elsewhere is gone, and does not come back
n[1](f'm[{SIZE - 100}:{SIZE - 95}] = b"store"')
n[2](f'os.truncate("f", {PAGE + 1}); os.truncate("f", {SIZE})')
same('past the cut', n[1][f'm[{SIZE - 100}:{SIZE - 95}]'], bytes(5))
n[3](f'os.truncate("f", {PAGE})')
n[1](f'os.truncate("f", {SIZE})')
same('all of it', n[2]['open("f", "rb").read()'], n[1][f'm[:{PAGE}]'] + bytes(SIZE - PAGE))

# all count in the same pages at once: over holes, over what is written, in blocks of two clones
for name, make in (('holes', f'open("{{}}", "wb").truncate({SIZE})'),
                   ('written', f'open("{{}}", "wb").write(bytes({SIZE}))'),
                   ('cloned', f'open("c", "wb").write(bytes({SIZE})); '
                              'subprocess.run(["csvadm", "image", "clone", "c", "{}"], check=True)')):
    n[1](make.format(name))
    on_all(f'm = mapped("{name}", {SIZE})')
    nr, rounds = 512, ROUNDS
    for node in n.values():
        mine = f'lambda i: i * {SIZE // nr} + {node.number} * 8'
        node.begin(f'count(m, {mine}, {nr}, {rounds}, {node.number})', 'eval')
    counts = {node.number: node.end() for node in n.values()}
    for number, got in counts.items():
        if isinstance(got, str):
            fail(f'{name}, node {number}: {got}')
    for reader in n.values():
        data = reader[f'open("{name}", "rb").read()']
        for number, wanted in counts.items():
            got = [struct.unpack_from('<Q', data, i * (SIZE // nr) + number * 8)[0] for i in range(nr)]
            same(f'{name}: words of node {number} as node {reader.number} reads them', got, wanted)
    if name == 'cloned':
        same('what it was cloned from', n[2]['open("c", "rb").read()'], bytes(SIZE))

# everything at once: nothing waits for ever, and in the end all see the same
n[1](f'open("storm", "wb").truncate({SIZE})')
for node in n.values():
    node.begin(f'storm("storm", {SIZE}, {STORM_S}, {node.number})', 'eval')
print('steps of the storm:', [node.end() for node in n.values()])
hashes = [node['hashlib.sha256(open("storm", "rb").read()).hexdigest()'] for node in n.values()]
same('the file after the storm', hashes, [hashes[0]] * 3)

# the coordinator's process dies: stores on the others go on, and none is lost
number = wait_for(20, coordinator, 'a coordinator')
others = [node for node in n.values() if node.number != number]
others[0](f'open("over", "wb").truncate({SIZE})')
on_all(f'm = mapped("over", {SIZE})', others)
for node in others:
    mine = f'lambda i: i * {SIZE // nr} + {node.number} * 8'
    node.begin(f'count(m, {mine}, {nr}, {4 * ROUNDS}, {node.number})', 'eval')
wait_for(20, lambda: any(n[number]['open("over", "rb").read()']), 'stores seen on the coordinator')
kill_mount(n[number])
counts = {node.number: node.end() for node in others}
for reader in others:
    data = reader['open("over", "rb").read()']
    for who, wanted in counts.items():
        got = [struct.unpack_from('<Q', data, i * (SIZE // nr) + who * 8)[0] for i in range(nr)]
        same(f'words of node {who} as node {reader.number} reads them after the takeover', got, wanted)
