# SPDX-License-Identifier: GPL-2.0-or-later
# For drive(): a load on each node that remembers what was acknowledged, and what it took.

import os

LOAD = r"""
def load(directory, stop, progress):
    "Creates, writes, overwrites and syncs until `stop` appears: (files, longest call in ms). Raises any error."
    os.mkdir(directory)
    acked, longest, i = [], 0, 0
    fixed = os.open(f'{directory}/fixed', os.O_CREAT | os.O_RDWR)
    os.pwrite(fixed, bytes(1 << 20), 0)
    last = [0] * 256
    while not os.path.exists(stop):
        begin = time.monotonic()
        text = random.randbytes(random.choice((10, 900, 5000, 70000)))
        fd = os.open(f'{directory}/{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        if os.write(fd, text) != len(text):
            raise RuntimeError('short write')
        os.fsync(fd)
        os.close(fd)
        acked.append((str(i), hashlib.sha256(text).hexdigest()))
        for block in random.sample(range(256), 8):
            last[block] = i + 1
            os.pwrite(fixed, struct.pack('<Q', i + 1), block * 4096)
        os.fsync(fixed)
        longest = max(longest, time.monotonic() - begin)
        i += 1
        with open(progress, 'w') as f:
            f.write(str(i))
    os.close(fixed)
    acked.append(('fixed', hashlib.sha256(b''.join(
        struct.pack('<Q', x).ljust(4096, b'\0') for x in last)).hexdigest()))
    return acked, int(longest * 1000)

def wrong(directory, acked):
    "Which of these files are not what they should be."
    bad = []
    for name, digest in acked:
        try:
            with open(f'{directory}/{name}', 'rb') as f:
                if hashlib.sha256(f.read()).hexdigest() != digest:
                    bad.append(f'{name}: other bytes')
        except OSError as e:
            bad.append(f'{name}: {e}')
    return bad
"""


class Load:
    """A load on these nodes, from here to end()."""

    def __init__(self, tag, nodes, wait_for):
        self.dir = f'/csv/lab/{tag}'
        self.tmp = f'{os.environ["TMP"]}/{tag}'
        self.nodes, self.wait_for = nodes, wait_for
        for node in nodes:
            node(LOAD)
            node.begin(f'load("{self.dir}-{node.number}", "{self.tmp}.stop", '
                       f'"{self.tmp}.{node.number}")', 'eval')
        self.goes_on(5)

    def count(self, node):
        try:
            with open(f'{self.tmp}.{node.number}') as f:
                return int(f.read() or 0)
        except FileNotFoundError:
            return 0

    def goes_on(self, more, nodes=None, seconds=60):
        """Waits until each node has done that many more rounds."""
        then = [(node, self.count(node)) for node in nodes or self.nodes]
        self.wait_for(seconds, lambda: all(self.count(node) >= was + more for node, was in then),
                      'for the load to go on')

    def end(self, readers):
        """Ends it; each reader must find every acknowledged file. The longest calls, in ms."""
        open(f'{self.tmp}.stop', 'w').close()
        results = [(node, node.end()) for node in self.nodes]
        for node, (acked, _) in results:
            for reader in readers:
                reader(LOAD)
                bad = reader[f'wrong("{self.dir}-{node.number}", {acked!r})']
                if bad:
                    raise SystemExit(f'node {reader.number} finds wrong of node {node.number}: {bad[:10]}')
        return {node.number: ms for node, (_, ms) in results}
