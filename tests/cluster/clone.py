# SPDX-License-Identifier: GPL-2.0-or-later
# Run by clone.sh and clone_twin.sh through drive() of cluster.bash.

MiB = 1 << 20
HELP = r"""
import fcntl

def clone(src, dst):
    with open(src, 'rb') as s, open(dst, 'xb') as d:
        fcntl.ioctl(d.fileno(), 0x4008c501, struct.pack('<Q', os.fstat(s.fileno()).st_ino))

def fill(path, nr, mark):
    with open(path, 'wb') as f:
        for i in range(nr):
            f.write(struct.pack('<QQ', mark, i) * 256)

def marks(path):
    with open(path, 'rb') as f:
        text = f.read()
    return [struct.unpack_from('<Q', text, at)[0] for at in range(0, len(text), 4096)]

def write(path, places, mark, direct=False):
    fd = os.open(path, os.O_RDWR | (os.O_DIRECT if direct else 0))
    m = mmap.mmap(-1, 4096)
    for i in places:
        m[:] = struct.pack('<QQ', mark, i) * 256
        if os.pwrite(fd, m, i * 4096) != 4096:
            raise RuntimeError('short write')
    os.close(fd)
"""
for node in n.values():
    node(HELP)

NR = 2048

# who has its layout cached and writes on sees that it is shared now
n[1](f'fill("/csv/lab/golden", {NR}, 1)')
same('golden on 2', n[2]['set(marks("/csv/lab/golden"))'], {1})
n[3]('fd = os.open("/csv/lab/golden", os.O_RDWR); os.pread(fd, 4096, 0)')
n[2]('clone("/csv/lab/golden", "/csv/lab/c2")')
n[3]('os.pwrite(fd, struct.pack("<QQ", 3, 0) * 256, 0); os.close(fd)')
same('the clone, after a write to its source', n[1]['marks("/csv/lab/c2")[0]'], 1)
same('the source', n[1]['marks("/csv/lab/golden")[0]'], 3)

# who has read the clone, and then another node writes to it
same('on 3', n[3]['marks("/csv/lab/c2")[100]'], 1)
n[3]('fd = os.open("/csv/lab/c2", os.O_RDONLY); os.pread(fd, 4096, 100 * 4096)')
n[1]('write("/csv/lab/c2", [100], 7)')
same('a place that was cached as shared', n[3]['struct.unpack("<Q", os.pread(fd, 8, 100 * 4096))[0]'], 7)
n[3]('os.close(fd)')

# all nodes write to both at once, each its own places; clones are made meanwhile
import threading
for node in n.values():
    node(f'random.seed({node.number})')
def at_once(*jobs):
    failed = []
    def run(job):
        try:
            job()
        except BaseException as e:
            failed.append(e)
    all = [threading.Thread(target=run, args=(j,)) for j in jobs]
    for t in all:
        t.start()
    for t in all:
        t.join()
    if failed:
        raise failed[0]

def writer(number, path, mark):
    node = n[number]
    places = list(range(number, NR, 3))
    return lambda: node(f'p = {places}; random.shuffle(p); write({path!r}, p, {mark}, {number == 2})')

n[2]('clone("/csv/lab/golden", "/csv/lab/w")')
before = n[1]['marks("/csv/lab/golden")']
at_once(writer(1, '/csv/lab/w', 11), writer(2, '/csv/lab/w', 12), writer(3, '/csv/lab/w', 13))
want = [11 if i % 3 == 1 else 12 if i % 3 == 2 else before[0] if i == 0 else 13 for i in range(NR)]
for number in n:
    same(f'the clone on {number}', n[number]['marks("/csv/lab/w")'], want)
    same(f'its source on {number}', n[number]['marks("/csv/lab/golden")'], before)

# a clone of what is being written: each place is as it was, or as it became
def snapshots():
    for i in range(8):
        n[3](f'clone("/csv/lab/w", "/csv/lab/snap{i}")')
n[3]('clone("/csv/lab/w", "/csv/lab/w2")')
at_once(writer(1, '/csv/lab/w', 21), writer(2, '/csv/lab/w', 22), snapshots)
last = None
for i in range(8):
    got = n[1][f'marks("/csv/lab/snap{i}")']
    bad = [k for k in range(NR) if got[k] not in (want[k], 21 if k % 3 == 1 else 22)]
    same(f'places of snapshot {i} that are neither old nor new', bad, [])
    if last:
        same('places that went back', [k for k in range(NR) if last[k] > 20 and got[k] < 20], [])
    last = got
same('the clone that nobody wrote', n[2]['marks("/csv/lab/w2")'], want)
