# SPDX-License-Identifier: GPL-2.0-or-later
# Run by coherence.sh and coherence_twin.sh through drive() of cluster.bash.
#
# `seer` has looked at everything before, so that what it has cached would show.

def data(doer, seer, path):
    """Bytes and sizes, buffered on both sides."""
    doer(f'fd = os.open({path!r}, os.O_RDWR | os.O_CREAT)')
    seer(f'fd = os.open({path!r}, os.O_RDONLY)')
    same('an empty file', seer['os.pread(fd, 10, 0)'], b'')
    for size, text in ((3, b'one'), (5, b'three'), (5, b'thre3')):
        doer(f'os.pwrite(fd, {text!r}, 0)')
        same('bytes', seer['os.pread(fd, 10, 0)'], text)
        same('size', seer['os.fstat(fd).st_size'], size)
    doer('big = os.urandom(300000); os.pwrite(fd, big, 1000)')
    big = doer['big']
    same('size', seer[f'os.stat({path!r}).st_size'], 301000)
    same('bytes', seer['os.pread(fd, 400000, 0)'], b'thre3' + bytes(995) + big)
    # one byte in what seer has cached pages of
    for at in (0, 4095, 4096, 200001, 300999):
        doer(f'os.pwrite(fd, b"!", {at})')
        same(f'byte {at}', seer[f'os.pread(fd, 1, {at})'], b'!')
    # the other way round: doer has pages, too, and seer writes
    doer('before = os.pread(fd, 400000, 0)')
    seer(f'w = os.open({path!r}, os.O_RDWR); os.pwrite(w, b"back", 5000); os.close(w)')
    same('bytes written back', doer['os.pread(fd, 4, 5000)'], b'back')
    for size in (250001, 4096, 4095, 10, 0):
        doer(f'os.ftruncate(fd, {size})')
        same('size', seer['os.fstat(fd).st_size'], size)
        same('length', len(seer['os.pread(fd, 400000, 0)']), size)
    doer('os.ftruncate(fd, 100000)')
    same('bytes after growing', seer['os.pread(fd, 400000, 0)'], bytes(100000))
    doer('os.close(fd)')
    seer('os.close(fd)')


def mapped(doer, seer, path):
    """Private mappings (programs run from the volume) see what is there when they are made."""
    doer(f'fd = os.open({path!r}, os.O_RDWR | os.O_CREAT); os.pwrite(fd, b"a" * 8192, 0)')
    seer(f'fd = os.open({path!r}, os.O_RDONLY); m = mmap.mmap(fd, 8192, mmap.MAP_PRIVATE, mmap.PROT_READ)')
    same('mapped', seer['m[4096:4099]'], b'aaa')
    doer('os.pwrite(fd, b"bcd", 4096)')
    seer('m.close(); m = mmap.mmap(fd, 8192, mmap.MAP_PRIVATE, mmap.PROT_READ)')
    same('mapped again, after a write elsewhere', seer['m[4096:4099]'], b'bcd')
    seer('m.close(); os.close(fd)')
    doer('os.close(fd)')


def names(doer, seer, top):
    doer(f'os.mkdir({top!r}); os.chdir({top!r})')
    seer(f'os.chdir({top!r})')
    same('names', seer['os.listdir(".")'], [])
    refuse(errno.ENOENT, seer.__getitem__, 'os.stat("a")')
    doer('os.close(os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY))')
    same('a', seer['os.stat("a").st_size'], 0)
    refuse(errno.EEXIST, seer, 'os.open("a", os.O_CREAT | os.O_EXCL)')
    doer('os.rename("a", "b")')
    refuse(errno.ENOENT, seer.__getitem__, 'os.stat("a")')
    same('names', seer['os.listdir(".")'], ['b'])
    doer('os.link("b", "c")')
    same('links', seer['os.stat("b").st_nlink'], 2)
    same('one file', seer['os.stat("b").st_ino == os.stat("c").st_ino'], True)
    doer('os.unlink("b")')
    same('links', seer['os.stat("c").st_nlink'], 1)
    refuse(errno.ENOENT, seer, 'os.open("b", os.O_RDONLY)')
    doer('os.symlink("c", "s")')
    same('target', seer['os.readlink("s")'], 'c')
    doer('os.mkdir("d"); os.mkdir("d/e")')
    same('links of a directory', seer['os.stat("d").st_nlink'], 3)
    refuse(errno.ENOTEMPTY, seer, 'os.rmdir("d")')
    doer('os.rename("d/e", "e")')
    seer('os.rmdir("d")')
    refuse(errno.ENOENT, doer, 'os.rmdir("d")')
    doer('os.close(os.open("x", os.O_CREAT)); os.rename("x", "c")')
    same('the new c', seer['os.stat("c").st_ino'], doer['os.stat("c").st_ino'])
    same('names', sorted(seer['os.listdir(".")']), ['c', 'e', 's'])
    doer('os.rename("e", "../moved-" + os.path.basename(os.getcwd()))')
    refuse(errno.ENOENT, seer, 'os.chdir("e")')
    doer('os.chdir("/")')
    seer('os.chdir("/")')


def attributes(doer, seer, path):
    doer(f'os.close(os.open({path!r}, os.O_CREAT, 0o644))')
    same('mode', seer[f'os.stat({path!r}).st_mode & 0o7777'], 0o644)
    doer(f'os.chmod({path!r}, 0o4751)')
    same('mode', seer[f'os.stat({path!r}).st_mode & 0o7777'], 0o4751)
    doer(f'os.chown({path!r}, 1234, 5678)')
    same('owner', seer[f'os.stat({path!r})[4:6]'], (1234, 5678))
    doer(f'os.utime({path!r}, ns=(1111111111111111111, 1222222222222222222))')
    same('times', seer[f'(lambda s: (s.st_atime_ns, s.st_mtime_ns))(os.stat({path!r}))'],
         (1111111111111111111, 1222222222222222222))
    # a write that only its own node knows of
    doer(f'fd = os.open({path!r}, os.O_RDWR); os.pwrite(fd, bytes(8192), 0)')
    first = seer[f'os.stat({path!r}).st_mtime_ns']
    if first <= 1222222222222222222:
        fail('a write left the time as it was')
    doer('time.sleep(0.01); os.pwrite(fd, b"x" * 4096, 0)')
    second = seer[f'os.stat({path!r}).st_mtime_ns']
    if second <= first:
        fail('an overwrite left the time as it was')
    same('the same from its node', doer['os.fstat(fd).st_mtime_ns'], second)
    doer('os.close(fd)')


def root(doer, seer):
    """The kernel keeps its attributes (docs/DESIGN.md, 9)."""
    before = seer[f'os.stat({MNT!r}).st_mode & 0o7777']
    for mode in (0o711, 0o1777, before):
        doer(f'os.chmod({MNT!r}, {mode})')
        same('mode of the root', seer[f'os.stat({MNT!r}).st_mode & 0o7777'], mode)
    doer(f'os.mkdir("{MNT}/sub")')
    links = seer[f'os.stat({MNT!r}).st_nlink']
    doer(f'os.rmdir("{MNT}/sub")')
    same('links of the root', seer[f'os.stat({MNT!r}).st_nlink'], links - 1)


for doer, seer in ((1, 2), (2, 1), (2, 3), (3, 2)):
    tag = f'{doer}{seer}'
    data(n[doer], n[seer], f'{MNT}/data-{tag}')
    mapped(n[doer], n[seer], f'{MNT}/mapped-{tag}')
    names(n[doer], n[seer], f'{MNT}/names-{tag}')
    attributes(n[doer], n[seer], f'{MNT}/attributes-{tag}')
    root(n[doer], n[seer])
