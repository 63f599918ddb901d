#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A file that is open on one node and loses its name on another one can be read and written until it
# is closed; then its space is free again. Also when its holder is killed, or the coordinator is.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
SIZE = 48 << 20


def used(node):
    return node[f'(lambda st: (st.f_blocks - st.f_bfree) * st.f_frsize)(os.statvfs("{MNT}"))']


def make(node, name):
    node(f'text = os.urandom(1 << 20); fd = os.open("{MNT}/{name}", os.O_CREAT | os.O_RDWR)')
    node(f'[os.pwrite(fd, text, at) for at in range(0, {SIZE}, 1 << 20)]; os.fsync(fd)')
    return node['text']


def still_there(node, text):
    same('bytes', node[f'os.pread(fd, 1 << 20, {SIZE} - (1 << 20)) == text'], True)
    node('os.pwrite(fd, b"still writable", 0)')
    same('written', node['os.pread(fd, 14, 0)'], b'still writable')
    same('links', node['os.fstat(fd).st_nlink'], 0)


def freed(node, before, what):
    wait_for(20, lambda: used(node) <= before + (2 << 20), f'{what}: {used(node)} used, {before} before')


c = wait_for(40, coordinator)
holder, other = n[c % 3 + 1], n[(c + 1) % 3 + 1]
before = used(n[c])
text = make(holder, 'unlinked')
other(f'os.unlink("{MNT}/unlinked")')
refuse(errno.ENOENT, holder.__getitem__, f'os.stat("{MNT}/unlinked")')
still_there(holder, text)
if used(other) < before + SIZE:
    fail('its space is free while it is open')
holder('os.close(fd)')
freed(other, before, 'closed')

# replaced by a rename while open on the coordinator
text = make(n[c], 'unlinked')
other(f'open("{MNT}/new", "w").close(); os.rename("{MNT}/new", "{MNT}/unlinked")')
still_there(n[c], text)
n[c]('os.close(fd)')
freed(other, before, 'replaced and closed')

# the holder is killed
text = make(holder, 'unlinked')
other(f'os.unlink("{MNT}/unlinked")')
still_there(holder, text)
kill_mount(holder)
freed(other, before, 'its holder was killed')
csvlab('start', holder.number)

# the coordinator is killed: the next one knows that it is open
wait_for(40, coordinator)
text = make(other, 'unlinked')
holder(f'os.unlink("{MNT}/unlinked")')
kill_mount(n[c])
wait_for(40, lambda: coordinator([holder, other]))
still_there(other, text)
if used(holder) < before + SIZE:
    fail('its space is free while it is open')
other('os.close(fd)')
freed(holder, before, 'closed after a takeover')
csvlab('start', c)
wait_for(40, coordinator)
END
volume_clean
