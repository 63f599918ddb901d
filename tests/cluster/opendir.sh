#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A directory that is open on one node and removed on another one is there until it is closed, though
# opening it sent no message; also after the coordinator was killed. Then it is gone.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
def inodes(node):
    return node[f'(lambda st: st.f_files - st.f_ffree)(os.statvfs("{MNT}"))']


def requests(node):
    return node['{k: v for k, v in ask()["io"]["calls"].items() if k not in ("total", "STATFS")}']


def open_quietly(node, path):
    """Nobody is told of it."""
    node(f'os.stat("{path}"); os.listdir("{path}"); os.stat("{path}")')
    before = requests(node)
    node(f'fd = os.open("{path}", os.O_RDONLY | os.O_DIRECTORY)')
    same('requests to open a quiet directory', requests(node), before)
    node('ino = os.fstat(fd).st_ino')


def held(node):
    same('the number', node['os.fstat(fd).st_ino == ino'], True)
    same('links', node['os.fstat(fd).st_nlink'], 0)
    same('names', node['os.listdir(fd)'], [])
    refuse(errno.ENOENT, node, 'os.mkdir("new", dir_fd=fd)')


def gone(node, before, what):
    wait_for(20, lambda: inodes(node) <= before, f'{what}: {inodes(node)} inodes, {before} before')


c = wait_for(40, coordinator)
holder, other = n[c % 3 + 1], n[(c + 1) % 3 + 1]
before = inodes(n[c])

# each way to lose it; on each kind of node
for at, by in (holder, other), (n[c], other), (holder, n[c]), (holder, holder), (n[c], n[c]):
    for lose in 'os.rmdir("{0}")', 'os.mkdir("{0}-2"); os.rename("{0}-2", "{0}")':
        by(f'os.mkdir("{MNT}/dir")')
        open_quietly(at, f'{MNT}/dir')
        by(lose.format(f'{MNT}/dir'))
        held(at)
        at('os.close(fd)')
        by(f'os.path.exists("{MNT}/dir") and os.rmdir("{MNT}/dir")')
        gone(other, before, 'closed')

# its own node changes it meanwhile, and is not told; others do
for change in (holder, other, n[c]):
    other(f'os.mkdir("{MNT}/dir")')
    open_quietly(holder, f'{MNT}/dir')
    change(f'open("{MNT}/dir/file", "w").close(); os.unlink("{MNT}/dir/file")')
    other(f'os.rmdir("{MNT}/dir")')
    held(holder)
    holder('os.close(fd)')
    gone(other, before, 'changed and closed')

# nobody waits for the close of what was not removed
other(f'os.mkdir("{MNT}/dir")')
open_quietly(holder, f'{MNT}/dir')
before_close = requests(holder)
holder('os.close(fd)')
open_quietly(holder, f'{MNT}/dir')
after = requests(holder)
for op in 'OPEN', 'CLOSE':
    same(f'{op} for two opens and a close', after.get(op), before_close.get(op))
holder('os.close(fd)')

# the coordinator is killed: the next one knows
open_quietly(other, f'{MNT}/dir')
kill_mount(n[c])
wait_for(40, lambda: coordinator([holder, other]))
holder(f'os.rmdir("{MNT}/dir")')
held(other)
other('os.close(fd)')
gone(holder, before, 'closed after a takeover')

# the holder is killed
holder(f'os.mkdir("{MNT}/dir")')
open_quietly(other, f'{MNT}/dir')
holder(f'os.rmdir("{MNT}/dir")')
held(other)
csvlab('start', c)
wait_for(40, coordinator)
kill_mount(other)
gone(holder, before, 'its holder was killed')
csvlab('start', other.number)
wait_for(40, coordinator)
END
volume_clean
