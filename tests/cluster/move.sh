#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The coordinator's role is handed from node to node under load: no call fails, nothing is lost.
# timeout: 120
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 3 --size 2G
drive <<'END'
from load import Load

c = wait_for(40, coordinator)
load = Load('load', list(n.values()), wait_for)
for _ in range(4):
    to = c % 3 + 1
    csvlab('exec', c, '--', 'csvadm', 'coordinator', 'move', to)
    wait_for(30, lambda: all(status_of(node)['coordinator']['node'] == to for node in n.values()), 'for the move')
    load.goes_on(3)
    c = to
longest = load.end(n.values())
same('coordinator', wait_for(40, coordinator), c)
print(f'four moves; longest round, ms: {longest}')
END
volume_clean
