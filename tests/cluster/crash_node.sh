#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A whole node loses its power, coordinator or not: the others go on without an error, it comes back,
# and what was acknowledged to any of them is there.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
from load import Load

for role in ('coordinator', 'member'):
    c = wait_for(40, coordinator)
    victim = n[c if role == 'coordinator' else c % 3 + 1]
    others = [node for node in n.values() if node is not victim]
    # acknowledged and synced on the victim before it dies
    victim(f'text = os.urandom(200000); fd = os.open("{MNT}/synced-{role}", os.O_CREAT | os.O_WRONLY); '
           f'os.write(fd, text); os.fsync(fd)')
    text = victim['text']
    load = Load(role, others, wait_for)
    csvlab('crash', victim.number)
    at = time.monotonic()
    load.goes_on(5)
    took = time.monotonic() - at
    for node in others:
        same('alive', status_of(node)['node']['io_mode'], 'direct')
    csvlab('start', victim.number)
    victim.kill()
    victim.start()
    wait_for(40, lambda: coordinator(busy=True))
    load.goes_on(3)
    longest = load.end(n.values())
    for node in n.values():
        same(f'what node {node.number} reads', node[f'open("{MNT}/synced-{role}", "rb").read()'] == text, True)
    print(f'{role}: node {victim.number} crashed and is back; longest round, ms: {longest}; '
          f'all went on after {took * 1000:.0f} ms', flush=True)
END
volume_clean
