#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P1: reads and overwrites of what is written already send nothing to the coordinator, from any node
# and also when all share an image; the bytes go from each node straight to the target.
# timeout: 150
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"
need fio

lab_up --nodes 3 --size 2G
drive <<'END'
SECS = 20
FIO = r"""
def bytes_of(net):
    total = 0
    for what in ('tx_bytes', 'rx_bytes'):
        with open(f'/sys/class/net/{net}/statistics/{what}') as f:
            total += int(f.read())
    return total

def measure(number, stop):
    "Mixed load until there is a file stop; bytes that fio moved, that san0 and lan0 carried."
    san, lan = bytes_of('san0'), bytes_of('lan0')
    report = f'{stop}.{number}'
    fio = subprocess.Popen(['fio', '--output-format=json', f'--output={report}', '--direct=1',
        '--ioengine=libaio', '--iodepth=8', '--rw=randrw', '--bssplit=4k/60:16k/20:64k/20',
        '--time_based', '--runtime=90', '--size=64M', '--norandommap', '--fallocate=none',
        '--name=own', f'--filename=/csv/lab/own-{number}',
        '--name=shared', '--filename=/csv/lab/shared'])
    while not os.path.exists(stop) and fio.poll() is None:
        time.sleep(0.05)
    if fio.poll() is not None:
        raise RuntimeError('fio ended by itself')
    fio.send_signal(signal.SIGINT)
    fio.wait()
    with open(report) as f:
        text = f.read()     # begins with a line about the signal
    jobs = json.loads(text[text.index('{'):])['jobs']
    moved = 0
    for job in jobs:
        if job['error']:
            raise RuntimeError(f'fio: error {job["error"]}')
        moved += job['read']['io_bytes'] + job['write']['io_bytes']
    return moved, bytes_of('san0') - san, bytes_of('lan0') - lan
"""
c = wait_for(40, coordinator)
for node in n.values():
    node('import json')
    node(FIO)
for name in [f'own-{i}' for i in n] + ['shared']:
    n[1](f'fd = os.open("{MNT}/{name}", os.O_CREAT | os.O_WRONLY); '
         f'[os.write(fd, os.urandom(1 << 20)) for i in range(64)]; os.fsync(fd); os.close(fd)')

def requests():
    return status_of(n[c])['coordinator']['requests']

def done():
    return {i: status_of(node)['io'] for i, node in n.items()}

stop = f'{os.environ["TMP"]}/stop'
started = time.monotonic()
before = {i: io['read_ops'] + io['write_ops'] for i, io in done().items()}
for i, node in n.items():
    node.begin(f'measure({i}, {stop!r})', 'eval')
# each has done a good part by now: layouts are known everywhere
wait_for(30, lambda: all(io['read_ops'] + io['write_ops'] > before[i] + 500 for i, io in done().items()),
         'for fio to run')
begin, first, first_io = time.monotonic(), requests(), done()
wait_for(SECS + 5, lambda: time.monotonic() - begin >= SECS)
last, last_io, took = requests(), done(), time.monotonic() - begin
open(stop, 'w').close()
# what is counted has to be alive
for i in n:
    for what in ('read_ops', 'write_ops'):
        count = last_io[i][what] - first_io[i][what]
        if count < 200:
            fail(f'node {i}: {what} grew by {count} only')
same('requests to the coordinator', last, first)
for i in n:
    same(f'calls of node {i}', last_io[i]['calls'], first_io[i]['calls'])

for i, node in n.items():
    moved, san, lan = node.end()
    share = san / moved
    print(f'node {i}: fio {moved >> 20} MiB, san0 {san >> 20} MiB ({share:.3f}), lan0 {lan >> 10} KiB')
    # iSCSI and TCP headers and acknowledgements; what opening took; each second's beat
    if not 1.0 <= share <= 1.06 + (time.monotonic() - started) * 300000 / moved:
        fail(f'node {i}: san0 carried {san} bytes, fio moved {moved}')
    if lan > 4 << 20:
        fail(f'node {i}: lan0 carried {lan} bytes')
print(f'{took:.0f} s without a request: {last}')

# so that the counter can be seen to count
n[1](f'os.close(os.open("{MNT}/one-more", os.O_CREAT))')
if requests() == last:
    fail('a create is not counted')
END
