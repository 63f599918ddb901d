#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Names of 255 bytes work everywhere, of 256 bytes fail with ENAMETOOLONG; every byte but '/' and NUL
# is good in a name; links to 4095 bytes; paths of many levels.
# timeout: 90
source "$(dirname "$0")/../lib.sh"
source "$(dirname "$0")/cluster.bash"

lab_up --nodes 2 --backend file --size 1G
drive <<'END'
long, longer = 'n' * 255, 'n' * 256
n[1](f'os.chdir("{MNT}")')
n[2](f'os.chdir("{MNT}")')
n[1](f'open({long!r}, "w").write("text")')
same('on node 2', n[2][f'open({long!r}).read()'], 'text')
same('names', n[2]['os.listdir()'], [long])
for call in ('open({0!r}, "w")', 'os.mkdir({0!r})', 'os.symlink("x", {0!r})', 'os.mkfifo({0!r})',
             'os.link({1!r}, {0!r})', 'os.rename({1!r}, {0!r})', 'os.stat({0!r})', 'os.unlink({0!r})'):
    refuse(errno.ENAMETOOLONG, n[1], call.format(longer, long))
same('names', n[2]['os.listdir()'], [long])
other = 'm' * 255
n[2](f'os.rename({long!r}, {other!r}); os.mkdir({long!r}); os.link({other!r}, {long!r} + "/" + {long!r})')
same('in the directory', n[1][f'open({long!r} + "/" + {long!r}).read()'], 'text')
n[1](f'os.unlink({long!r} + "/" + {long!r}); os.rmdir({long!r}); os.unlink({other!r})')

# umlauts cut in the middle: a name is bytes
odd = [bytes([b]) * k for b in range(1, 256) if b not in b'/' for k in (1, 2, 255) if (b, k) not in ((46, 1), (46, 2))]
n[1]('os.mkdir("odd")')
n[1](f'[os.close(os.open(b"odd/" + name, os.O_CREAT)) for name in {odd!r}]')
same('odd names', n[2]['sorted(os.listdir(b"odd"))'], sorted(odd))
n[2](f'[os.unlink(b"odd/" + name) for name in {odd!r}]; os.rmdir("odd")')

for length in (1, 255, 1024, 1025, 4095):
    n[1](f'os.symlink("t" * {length}, "link{length}")')
    same('target', n[2][f'os.readlink("link{length}")'], 't' * length)

refuse(errno.ENAMETOOLONG, n[1], 'os.symlink("t" * 4096, "link4096")')
refuse(errno.ENOENT, n[2].__getitem__, 'os.lstat("link4096")')

deep = '/'.join(['d' * 100] * 35)
n[1](f'os.makedirs({deep!r}); open({deep!r} + "/f", "w").write("deep")')
same('deep', n[2][f'open({deep!r} + "/f").read()'], 'deep')
END
volume_clean
