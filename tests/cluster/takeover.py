# SPDX-License-Identifier: GPL-2.0-or-later
# Run by takeover_*.sh through drive() of cluster.bash, with ROUNDS in front.

# Creates, writes and syncs files until `stop` appears; beside it a thread overwrites a mapped file
# in place. Remembers what was acknowledged, and when. Any error ends it and is raised.
LOAD = r"""
def load(directory, stop, progress):
    os.mkdir(directory)
    acked, failed = [], []

    def overwrite():
        try:
            fd = os.open(f'{directory}/mapped', os.O_CREAT | os.O_RDWR)
            os.pwrite(fd, bytes(1 << 20), 0)
            count = 0
            while not os.path.exists(stop):
                count += 1
                os.pwrite(fd, struct.pack('<Q', count), count % 256 * 4096)
                if count % 16 == 0:
                    os.fsync(fd)
            os.close(fd)
            acked.append(('mapped', hashlib.sha256(b''.join(
                struct.pack('<Q', max(count - (count - b) % 256, 0)).ljust(4096, b'\0')
                for b in range(256))).hexdigest(), 0, 0))
        except BaseException as e:
            failed.append(e)

    thread = threading.Thread(target=overwrite)
    thread.start()
    i = 0
    while not os.path.exists(stop) and not failed:
        text = random.randbytes(random.choice((10, 900, 5000, 70000)))
        begin = time.monotonic()
        fd = os.open(f'{directory}/{i}', os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        made = time.monotonic()
        if os.write(fd, text) != len(text):
            raise RuntimeError('short write')
        os.fsync(fd)
        os.close(fd)
        acked.append((str(i), hashlib.sha256(text).hexdigest(), begin, made))
        i += 1
        with open(progress, 'w') as f:
            f.write(str(i))
    thread.join()
    if failed:
        raise failed[0]
    return acked

def wrong(directory, acked):
    "Which of these files are not what they should be."
    bad = []
    for name, digest, *_ in acked:
        try:
            with open(f'{directory}/{name}', 'rb') as f:
                if hashlib.sha256(f.read()).hexdigest() != digest:
                    bad.append(f'{name}: other bytes')
        except OSError as e:
            bad.append(f'{name}: {e}')
    return bad
"""


def progress(number):
    try:
        with open(f'{os.environ["TMP"]}/progress-{number}') as f:
            return int(f.read() or 0)
    except FileNotFoundError:
        return 0


def one_round(number):
    lost = wait_for(40, coordinator, 'for a coordinator')
    others = [node for node in n.values() if node.number != lost]
    stop = f'{os.environ["TMP"]}/stop-{number}'
    for node in n.values():
        node(LOAD)
    for node in others:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f'{os.environ["TMP"]}/progress-{node.number}')
        node.begin(f'load("{MNT}/round{number}-{node.number}", "{stop}", '
                   f'"{os.environ["TMP"]}/progress-{node.number}")', 'eval')
    wait_for(30, lambda: all(progress(node.number) >= 10 for node in others), 'for the load to run')
    at = kill_mount(n[lost])
    then = {node.number: progress(node.number) for node in others}
    wait_for(60, lambda: all(progress(i) >= count + 20 for i, count in then.items()),
             'for creates after the kill')
    open(stop, 'w').close()
    acked = {node.number: node.end() for node in others}
    csvlab('start', lost)
    wait_for(40, coordinator, 'for all to be connected')
    for writer, files in acked.items():
        # from every node: the writer, the other one, the one that came back
        for node in n.values():
            same(f'what node {node.number} finds wrong of node {writer}',
                 node[f'wrong("{MNT}/round{number}-{writer}", {files!r})'], [])
    first = {i: min(made for _, _, begin, made in files if begin >= at) for i, files in acked.items()}
    print(f'round {number}: coordinator {lost} killed; ms to the next create: ' +
          ', '.join(f'node {i} {(made - at) * 1000:.0f}' for i, made in first.items()) +
          f'; {sum(map(len, acked.values()))} files', flush=True)


for number in range(1, ROUNDS + 1):
    one_round(number)
