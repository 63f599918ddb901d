#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# open(O_CREAT) of the same new names on all nodes at once: one makes each, all have the same file
# open, with the bytes of all. With O_EXCL one alone has it.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --backend file --size 1G
drive <<'END'
ROUNDS = 400
on_all(f'os.chdir("{MNT}")')
on_all('''
def each(names, flags):
    got = {}
    for name in names:
        try:
            fd = os.open(name, os.O_CREAT | os.O_WRONLY | flags, 0o644)
        except OSError as e:
            got[name] = errno.errorcode[e.errno]
            continue
        os.pwrite(fd, b"{N}", {N} - 1)
        got[name] = os.fstat(fd).st_ino
        os.close(fd)
    return got
''')

def at_once(names, flags):
    for node in n.values():
        node.begin(f'each({names!r}, {flags})', 'eval')
    return [node.end() for node in n.values()]

names = [f'all-{i}' for i in range(ROUNDS)]
got = at_once(names, '0')
for name in names:
    same(f'what the nodes got of {name}', [g[name] for g in got], [got[0][name]] * 3)
same('bytes', n[2][f'[open(name, "rb").read() for name in {names!r}]'], [b'123'] * ROUNDS)

names = [f'one-{i}' for i in range(ROUNDS)]
got = at_once(names, 'os.O_EXCL')
for name in names:
    same(f'who was refused {name}', sorted(g[name] == 'EEXIST' for g in got), [False, True, True])
    same(f'refused {name} otherwise', {g[name] for g in got if isinstance(g[name], str)}, {'EEXIST'})
END
volume_clean
