#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A node's path to the storage is cut for seconds and heals: its I/O waits and then goes on without an
# error, be it the coordinator or not, and the others go on.
# timeout: 180
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
from load import Load

CUT_S = 4
for role in ('member', 'coordinator'):
    c = wait_for(40, coordinator)
    victim = n[c if role == 'coordinator' else c % 3 + 1]
    load = Load(role, list(n.values()), wait_for)
    csvlab('cut', victim.number, 'san')
    at, before = time.monotonic(), load.count(victim)
    wait_for(CUT_S + 5, lambda: time.monotonic() > at + CUT_S)
    if load.count(victim) > before + 1:
        fail('it went on without a path: this shows nothing')
    csvlab('heal', victim.number, 'san')
    load.goes_on(5)
    longest = load.end(n.values())
    if longest[victim.number] < (CUT_S - 1) * 1000:
        fail(f'the cut was not felt: {longest}')
    print(f'{role}: {CUT_S} s without storage on node {victim.number}; longest round, ms: {longest}', flush=True)
END
volume_clean
