#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells all that is in a mounted volume, always in the same order: manifest.py DIR; or how much of it is
in use: manifest.py DIR volume"""
import hashlib
import os
import stat
import sys

KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'dir', stat.S_IFLNK: 'symlink', stat.S_IFIFO: 'fifo',
         stat.S_IFSOCK: 'socket', stat.S_IFCHR: 'char', stat.S_IFBLK: 'block'}


def text(name):
    """Printable, one word."""
    return ''.join(chr(c) if 33 <= c < 127 and c != 37 else '%%%02x' % c for c in name)


def short(data):
    return text(data) or '-' if len(data) <= 60 else 'sha256:' + hashlib.sha256(data).hexdigest()


def data_map(fd, size):
    """[(begin, end)] of data, by SEEK_DATA and SEEK_HOLE."""
    runs, pos = [], 0
    while pos < size:
        try:
            begin = os.lseek(fd, pos, os.SEEK_DATA)
        except OSError:
            break
        pos = os.lseek(fd, begin, os.SEEK_HOLE)
        runs.append((begin, pos))
    return runs


def content(path, size):
    """What is outside of data is zeroes, and not read where that would take years."""
    fd = os.open(path, os.O_RDONLY)
    runs = data_map(fd, size)
    digest = hashlib.sha256()
    for begin, end in [(0, size)] if size <= 64 << 20 else runs:
        while begin < end:
            chunk = os.pread(fd, min(end - begin, 1 << 20), begin)
            if not chunk:
                raise EOFError(path)
            digest.update(chunk)
            begin += len(chunk)
    os.close(fd)
    runs = ' '.join('%d-%d' % r for r in runs)
    if len(runs) > 200:
        runs = '%d runs, sha256:%s' % (runs.count(' ') + 1, hashlib.sha256(runs.encode()).hexdigest())
    return digest.hexdigest(), runs or 'none'


SEEN = {}


def tell(root, path):
    full = os.path.join(root, path)
    st = os.lstat(full)
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    if st.st_ino in SEEN:
        print(text(path), 'same as', text(SEEN[st.st_ino]))
        return
    SEEN[st.st_ino] = path
    print(text(path), kind, 'ino=%d' % st.st_ino, 'mode=%o' % stat.S_IMODE(st.st_mode),
          'owner=%d:%d' % (st.st_uid, st.st_gid), 'nlink=%d' % st.st_nlink,
          'size=%d' % st.st_size if kind != 'dir' else 'entries=%d' % len(os.listdir(full)),
          'blocks=%d' % (st.st_blocks // 8), 'mtime=%d' % st.st_mtime_ns, 'ctime=%d' % st.st_ctime_ns,
          *(['dev=%d:%d' % (os.major(st.st_rdev), os.minor(st.st_rdev))] if kind in ('char', 'block') else []))
    if kind == 'symlink':
        print(' ', 'target', short(os.readlink(full)))
    if kind == 'file':
        digest, runs = content(full, st.st_size)
        print(' ', 'sha256', digest)
        print(' ', 'data', runs)
    for name in sorted(os.listxattr(full, follow_symlinks=False)):
        value = os.getxattr(full, name, follow_symlinks=False)
        print(' ', 'xattr', text(name.encode()), len(value), short(value))


def walk(root, path):
    tell(root, path)
    full = os.path.join(root, path)
    if stat.S_ISDIR(os.lstat(full).st_mode):
        for name in sorted(os.listdir(full)):
            walk(root, os.path.join(path, name))


top = os.fsencode(sys.argv[1])
vfs = os.statvfs(top)
print('volume', 'blocks=%d' % vfs.f_blocks, 'free=%d' % vfs.f_bfree, 'inodes=%d' % (vfs.f_files - vfs.f_ffree))
if len(sys.argv) < 3:
    walk(top, b'.')
