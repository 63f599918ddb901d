#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node loses the others' network: the rest goes on without an error, a coordinator that is cut off
# is replaced, and after the network is back all nodes can be used again with nothing lost.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
from load import Load

for role in ('member', 'coordinator'):
    c = wait_for(40, coordinator)
    victim = n[c if role == 'coordinator' else c % 3 + 1]
    others = [node for node in n.values() if node is not victim]
    victim(f'fd = os.open("{MNT}/own-{role}", os.O_CREAT | os.O_RDWR); os.pwrite(fd, b"a" * 65536, 0); os.fsync(fd)')
    load = Load(role, others, wait_for)
    csvlab('cut', victim.number, 'lan')
    wait_for(40, lambda: not status_of(victim)['cluster']['quorate'], 'for it to see that it is alone')
    load.goes_on(5)
    wait_for(40, lambda: {status_of(node)['coordinator']['node'] for node in others} <=
             {node.number for node in others}, 'for a coordinator')
    csvlab('heal', victim.number, 'lan')
    load.goes_on(5)
    longest = load.end(others)
    # by itself, or after a remount if it was fenced
    victim('with contextlib.suppress(OSError): os.close(fd)')
    csvlab('start', victim.number)
    wait_for(40, coordinator)
    for node in n.values():
        same(f'what node {node.number} reads', node[f'open("{MNT}/own-{role}", "rb").read() == b"a" * 65536'], True)
    victim(f'open("{MNT}/after-{role}", "w").write("back")')
    same('written after', others[0][f'open("{MNT}/after-{role}").read()'], 'back')
    print(f'{role}: node {victim.number} was cut off and is back; longest round elsewhere, ms: {longest}', flush=True)
END
volume_clean
