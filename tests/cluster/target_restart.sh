#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The target's daemon dies under load and comes back without the reservations that it had: no call on
# any node fails, nothing that was acknowledged is lost, and the keys are registered again.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
from load import Load

wait_for(40, coordinator)
load = Load('load', list(n.values()), wait_for)
for _ in range(2):
    csvlab('kill', 'target')
    csvlab('start', 'target')
    load.goes_on(5)
longest = load.end(n.values())
for node in n.values():
    st = node['ask()']
    same(f'node {node.number}', st['node']['io_mode'], 'direct')
    if not st['device']['reconnects']:
        fail(f'node {node.number} has not noticed a restart')
print(f'two restarts of the target; longest round, ms: {longest}')
END
volume_clean
