#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ask.py [REQUEST]: one request to the control socket of the mount on this node, its answer as it is.

csvadm shows the same, but also asks the file system how full it is, which is a request to the
coordinator: not for those who count requests.
"""
import glob
import json
import socket
import sys


def ask(request=None):
    """The answer to a request (default: status), as an object."""
    paths = glob.glob('/run/csvfs/*.sock')
    if len(paths) != 1:
        raise RuntimeError(f'{len(paths)} control sockets')
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(paths[0])
        s.sendall(json.dumps(request or {'cmd': 'status'}).encode() + b'\n')
        answer = b''
        while chunk := s.recv(65536):
            answer += chunk
    return json.loads(answer)


def ended(pid):
    """Whether the process is gone, or is there only until its parent looks."""
    try:
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rpartition(')')[2].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True


if __name__ == '__main__':
    print(json.dumps(ask(json.loads(sys.argv[1]) if sys.argv[1:] else None)))
