#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fills a mounted volume with something of everything that format version 1 has.

fill.py DIR         what both images hold
fill.py DIR dirty   more of it, and files that are open without a name; then says "ready" and waits
"""
import os
import socket
import stat
import struct
import sys

BLK = 4096


def put(name, data=b'', mode=0o644):
    with open(name, 'wb') as f:
        f.write(data)
    os.chmod(name, mode)


def pattern(nr, tag):
    """nr bytes that tell where they are."""
    return b''.join((b'%s %d' % (tag, i)).ljust(256, b'.') for i in range(nr // 256 + 1))[:nr]


def write_at(name, off, data):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o644)
    os.pwrite(fd, data, off)
    os.close(fd)


def fallocate(name, mode, off, length):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(name, os.O_RDWR | os.O_CREAT, 0o644)
    if libc.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), name)
    os.close(fd)


PUNCH, ZERO, KEEP = 3, 16, 1


def clone(src, dst):
    """copy_file_range of the whole makes a clone."""
    s, d = os.open(src, os.O_RDONLY), os.open(dst, os.O_RDWR | os.O_CREAT, 0o644)
    size, done = os.fstat(s).st_size, 0
    while done < size:
        done += os.copy_file_range(s, d, size - done, done, done)
    os.close(s)
    os.close(d)


def acl(*entries):
    """Linux's value: (tag, permissions, id)…"""
    return struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in entries)


NOBODY = 0xffffffff
ACL = acl((1, 6, NOBODY), (2, 4, 1001), (4, 4, NOBODY), (8, 6, 1002), (16, 6, NOBODY), (32, 0, NOBODY))
DEFAULT_ACL = acl((1, 7, NOBODY), (2, 7, 1001), (4, 5, NOBODY), (16, 7, NOBODY), (32, 0, NOBODY))


def inline():
    os.mkdir('inline')
    for size in (0, 1, 100, 1023, 1024):
        put('inline/%d' % size, pattern(size, b'inline'))
    put('inline/longer than its bytes', b'the rest reads as zeroes')
    os.truncate('inline/longer than its bytes', 5000)


def extents():
    os.mkdir('extents')
    for size in (1025, 4096, 4097, 65536, 300001):
        put('extents/%d' % size, pattern(size, b'extents'))
    # written, hole, unwritten, written, unwritten past the end
    name = 'extents/mixed'
    write_at(name, 0, pattern(2 * BLK, b'first'))
    fallocate(name, 0, 32 * BLK, 32 * BLK)
    write_at(name, 40 * BLK, pattern(3 * BLK, b'second'))
    write_at(name, 200 * BLK, pattern(BLK + 7, b'third'))
    fallocate(name, KEEP, 300 * BLK, 16 * BLK)
    put('extents/zeroed', pattern(40 * BLK, b'zeroed'))
    fallocate('extents/zeroed', ZERO | KEEP, 5 * BLK + 9, 20 * BLK)
    # a tree of two levels
    put('extents/in pieces', pattern(400 * BLK, b'p'))
    for blk in range(1, 400, 2):
        fallocate('extents/in pieces', PUNCH, blk * BLK, BLK)
    # 2 TiB, of which little is there
    for off in (0, 1 << 30, (1 << 40) + 12345, (2 << 40) - 3):
        write_at('extents/large', off, pattern(3, b'large'))
    put('extents/cut', pattern(50 * BLK, b'cut'))
    os.truncate('extents/cut', 10 * BLK + 100)
    os.truncate('extents/cut', 30 * BLK)


def clones():
    os.mkdir('clones')
    put('clones/base', pattern(400000, b'base'))
    clone('clones/base', 'clones/a')
    clone('clones/base', 'clones/b')
    write_at('clones/a', 100000, pattern(5000, b'a'))
    fallocate('clones/b', PUNCH, 8 * BLK, 30 * BLK)
    clone('clones/b', 'clones/of b')
    write_at('clones/of b', 9 * BLK, b'of b')
    write_at('clones/of b', 390000, pattern(50000, b'longer'))
    write_at('clones/b', 3, b'later')
    # a layer whose file is gone
    put('clones/gone', pattern(200000, b'gone'))
    clone('clones/gone', 'clones/heir')
    write_at('clones/heir', 70000, b'heir')
    os.unlink('clones/gone')
    # deeper
    put('clones/deep 0', pattern(100000, b'deep'))
    for i in range(8):
        clone('clones/deep %d' % i, 'clones/deep %d' % (i + 1))
        write_at('clones/deep %d' % (i + 1), i * 3 * BLK, b'depth %d' % i)


def xattrs():
    os.mkdir('xattrs')
    put('xattrs/small', b'x')
    os.setxattr('xattrs/small', 'user.one', b'1')
    os.setxattr('xattrs/small', 'user.empty', b'')
    os.setxattr('xattrs/small', 'trusted.two', b'two\0and a half')
    put('xattrs/large')
    os.setxattr('xattrs/large', 'user.large', pattern(65536, b'xattr'))
    os.setxattr('xattrs/large', 'user.' + 'n' * 250, pattern(3000, b'xattr'))
    put('xattrs/many')
    for i in range(100):
        os.setxattr('xattrs/many', 'user.number %d' % i, pattern(i, b'%d' % i))
    os.setxattr('xattrs', 'user.dir', b'of a directory')
    put('xattrs/acl', b'acl', 0o600)
    os.setxattr('xattrs/acl', 'system.posix_acl_access', ACL)
    os.mkdir('xattrs/default')
    os.setxattr('xattrs/default', 'system.posix_acl_default', DEFAULT_ACL)
    put('xattrs/default/inherits', b'', 0o640)
    os.mkdir('xattrs/default/inherits too')


def names():
    os.mkdir('names')
    put('names/one', b'one of three')
    os.mkdir('names/deeper')
    os.link('names/one', 'names/two')
    os.link('names/one', 'names/deeper/three')
    os.symlink('one', 'names/short')
    os.symlink('t' * 1024, 'names/1024')
    os.symlink('../' * 341 + 'ab', 'names/1025')
    os.symlink('/'.join('%015d' % i for i in range(255)) + 'end of it 45678', 'names/4094')
    put('names/' + 'n' * 255)
    put(b'names/not \xff\xfe UTF-8')
    put('names/ü€𝄞')
    path = 'names/deeper'
    for i in range(12):
        path += '/%d' % i
        os.mkdir(path)
    put(path + '/bottom', b'bottom')
    os.mkdir('names/many')
    for i in range(800):
        os.link('names/one' if i % 3 else 'inline/100', 'names/many/entry number %d' % i)
    for i in range(0, 800, 7):
        os.unlink('names/many/entry number %d' % i)


def special():
    os.mkdir('special')
    os.mkfifo('special/fifo', 0o620)
    os.mknod('special/character', stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod('special/block', stat.S_IFBLK | 0o660, os.makedev(259, 0xfffff))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind('special/socket')
    put('special/set-user-id', b'', 0o4755)
    put('special/owned', b'')
    os.chown('special/owned', 1001, 0xfffffff0)
    os.mkdir('special/set-group-id')
    os.chown('special/set-group-id', 5, 6)
    os.chmod('special/set-group-id', 0o2775)
    put('special/set-group-id/inherits')
    os.mkdir('special/sticky')
    os.chmod('special/sticky', 0o1777)
    for name, ns in (('old', -86400 * 10**9 - 1), ('zero', 0), ('far', 4102444800 * 10**9 + 123456789)):
        put('special/' + name)
        os.utime('special/' + name, ns=(ns, ns))


def dirty():
    """Leaves a log to replay, and orphans: plain, with attributes, a clone, a large one, a directory."""
    os.mkdir('late')
    kept = []
    for i, name in enumerate(('plain', 'xattr', 'clone', 'pieces', 'inline')):
        name = 'late/' + name
        if i == 2:
            clone('clones/base', name)
            write_at(name, 5000, b'unlinked')
        elif i == 3:
            put(name, pattern(60 * BLK, b'u'))
            for blk in range(1, 60, 2):
                fallocate(name, PUNCH, blk * BLK, BLK)
        else:
            put(name, pattern(100 if i == 4 else 100000, b'unlinked'))
        os.setxattr(name, 'user.u', pattern(5000 if i == 1 else 5, b'u'))
        kept.append(os.open(name, os.O_RDWR))
        os.unlink(name)
    kept.append(os.open('late', os.O_RDWR | os.O_TMPFILE, 0o600))
    os.write(kept[-1], b'never had a name')
    for i in range(60):
        put('late/file %d' % i, pattern(i * 40, b'late'))
    for i in range(0, 60, 4):
        os.rename('late/file %d' % i, 'late/renamed %d' % i)
    for i in range(1, 60, 4):
        os.unlink('late/file %d' % i)
    os.rename('names/deeper', 'late/moved')
    write_at('clones/a', 200000, pattern(9000, b'late'))
    os.setxattr('late', 'user.late', b'late')
    os.truncate('extents/300001', 200000)
    os.link('names/one', 'late/one')
    print('ready', flush=True)
    sys.stdin.read()


os.umask(0o022)
os.chdir(sys.argv[1])
if len(sys.argv) > 2:
    dirty()
else:
    for part in (inline, extents, clones, xattrs, names, special):
        part()
