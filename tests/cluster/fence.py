# SPDX-License-Identifier: GPL-2.0-or-later
# Run by fence_*.sh through drive() of cluster.bash.
#
# A node writes OLD over a file, in place, from many threads, and stops in the middle of it, with all
# of its processes. The others go on without it and write NEW. Then it wakes up.

NR, BLK = 512, 4096

WRITER = r"""
def writer(path, block, nr, threads):
    "Overwrites until it fails; the errno of each thread."
    ends = []

    def one():
        fd = os.open(path, os.O_RDWR)
        try:
            while True:
                os.pwrite(fd, block, random.randrange(nr) * len(block))
        except OSError as e:
            ends.append(e.errno)
        with contextlib.suppress(OSError):
            os.close(fd)

    all = [threading.Thread(target=one) for _ in range(threads)]
    for t in all:
        t.start()
    for t in all:
        t.join()
    return ends
"""


def sleep_through(victim, path):
    """Stops the victim amid its writes, writes NEW elsewhere, wakes it: what its writers ended with
    (None: they had to be killed), and which blocks are OLD afterwards."""
    others = [node for node in n.values() if node is not victim]
    here, there = others
    old, new = b'O' * BLK, b'N' * BLK
    here(f'fd = os.open({path!r}, os.O_CREAT | os.O_RDWR); os.pwrite(fd, {old!r} * {NR}, 0); os.fsync(fd)')
    victim(WRITER)
    before = victim['ask()["io"]["write_ops"]']
    victim.begin(f'writer({path!r}, {old!r}, {NR}, 16)', 'eval')
    wait_for(20, lambda: status_of(victim)['io']['write_ops'] > before + 100, 'for the victim to write')
    csvlab('stop', victim.number)
    wait_for(60, lambda: coordinator(others), 'for a coordinator')
    here(f'os.pwrite(fd, {new!r} * {NR}, 0); os.fsync(fd)')
    same('NEW', there[f'open({path!r}, "rb").read() == {new!r} * {NR}'], True)
    here('os.mkdir("%s")' % (path + '.dir'))
    csvlab('cont', victim.number)
    ends = victim.end() if FENCE else twin_end(victim, there, path)
    text = there[f'open({path!r}, "rb").read()']
    same('blocks', len(text), NR * BLK)
    return ends, [b for b in range(NR) if text[b * BLK:b * BLK + BLK] != new]


def twin_end(victim, there, path):
    wait_for(20, lambda: b'O' in there[f'open({path!r}, "rb").read()'], 'for a late write to land')
    return None


for role in ('coordinator', 'member'):
    first = wait_for(40, coordinator, 'for a coordinator')
    victim = n[first if role == 'coordinator' else first % len(n) + 1]
    path = f'{MNT}/{role}'
    ends, old = sleep_through(victim, path)
    if not FENCE:
        print(f'{role}: without fencing {len(old)} of {NR} blocks are late writes')
        if not old:
            fail('no late write landed')
        break
    same(f'{role}: blocks of late writes', old, [])
    same(f'{role}: what its writers ended with', set(ends), {errno.ESHUTDOWN})
    refuse(errno.ESHUTDOWN, victim.__getitem__, f'os.statvfs("{MNT}")')
    refuse(errno.ESHUTDOWN, victim.__getitem__, f'os.open("{MNT}/{role}", os.O_RDONLY)')
    csvlab('start', victim.number)
    wait_for(40, coordinator, 'for the victim to be back')
    same(f'{role}: read by the victim', victim[f'set(open({path!r}, "rb").read())'], {ord('N')})
    print(f'{role}: node {victim.number} was fenced, and is back', flush=True)
