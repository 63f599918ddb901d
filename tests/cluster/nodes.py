# SPDX-License-Identifier: GPL-2.0-or-later
"""File system calls on the nodes of a lab, in any order, from one program.

Each node runs an agent, a Python process inside the node that does what it is sent and keeps its
variables. n[1]('x = 1') runs statements; n[1]['x + 1'] is an expression's value; n[1].begin(...)
and n[1].end() do the same and let others run meanwhile. An OSError there is raised here.
"""
import base64
import contextlib
import errno
import hashlib
import json
import faulthandler
import os
import pickle
import random
import subprocess
import sys
import time
import traceback

MNT = '/csv/lab'

AGENT = r'''
import base64, contextlib, ctypes, errno, fcntl, hashlib, mmap, os, pickle, random, signal, struct, subprocess
import sys, threading, time
sys.path.insert(0, sys.argv[1])
from ask import ask, ended
out = os.fdopen(os.dup(1), 'wb')
os.dup2(2, 1)
names = {k: v for k, v in globals().items() if k[0] != '_'}
for line in sys.stdin.buffer:
    kind, text = pickle.loads(base64.b64decode(line))
    try:
        if kind == 'eval':
            got = eval(text, names)
        else:
            got = None
            exec(text, names)
        reply = (True, got)
    except OSError as e:
        reply = (False, ('OSError', e.errno, f'{e} in {text!r}'))
    except BaseException as e:
        reply = (False, (type(e).__name__, 0, f'{type(e).__name__}: {e} in {text!r}'))
    out.write(base64.b64encode(pickle.dumps(reply)) + b'\n')
    out.flush()
'''

class Node:
    def __init__(self, number):
        self.number = number
        self.start()

    def start(self):
        """A new agent, e.g. after the node crashed."""
        self.proc = subprocess.Popen(
            [os.environ['CSVLAB'], 'exec', str(self.number), '--', 'python3', '-c', AGENT,
             os.path.dirname(os.path.abspath(__file__))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def begin(self, text, kind='exec'):
        self.proc.stdin.write(base64.b64encode(pickle.dumps((kind, text))) + b'\n')
        self.proc.stdin.flush()

    def end(self):
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError(f'node {self.number}: the agent has ended')
        ok, got = pickle.loads(base64.b64decode(line))
        if ok:
            return got
        name, code, text = got
        if name == 'OSError':
            raise OSError(code, f'node {self.number}: {text[:300]}')
        raise RuntimeError(f'node {self.number}: {text[:1000]}')

    def __call__(self, text):
        self.begin(text)
        return self.end()

    def __getitem__(self, text):
        self.begin(text, 'eval')
        return self.end()

    def kill(self):
        self.proc.kill()
        self.proc.wait()


def on_all(text, nodes=None):
    """The same on all nodes at the same time; {N} in it is the node's number. Their values."""
    nodes = nodes or list(n.values())
    for node in nodes:
        node.begin(text.replace('{N}', str(node.number)), 'exec')
    return [node.end() for node in nodes]


def fail(text):
    frame = traceback.extract_stack()[-3 if sys._getframe(1).f_code.co_name in CHECKS else -2]
    sys.exit(f'line {frame.lineno - 1}: {frame.line}: {text}')


def same(what, got, wanted):
    if got != wanted:
        fail(f'{what} is {short(got)}, should be {short(wanted)}')


def refuse(code, fn, *args):
    """fn(*args) must fail with this errno."""
    try:
        got = fn(*args)
    except OSError as e:
        if e.errno != code:
            fail(f'failed with {errno.errorcode.get(e.errno, e.errno)}, not {errno.errorcode[code]}: {e}')
        return
    fail(f'should have failed with {errno.errorcode[code]}, gave {short(got)}')


def wait_for(seconds, fn, what=''):
    """Until fn() is true; its value."""
    deadline = time.monotonic() + seconds
    while True:
        got = fn()
        if got:
            return got
        if time.monotonic() > deadline:
            fail(f'not within {seconds} s {what}')
        time.sleep(0.02)


CHECKS = ('same', 'refuse', 'wait_for')


def short(x):
    text = repr(x)
    return text if len(text) < 200 else f'{text[:200]}… ({len(x)} long)'


def coordinator(nodes=None, busy=False):
    """The coordinator's number, when it is one of these nodes (default: all), serves, and they are
    all connected to it; else None. Sends no requests to it. busy: their agents are."""
    status = {node.number: status_of(node) if busy else node['ask()'] for node in nodes or n.values()}
    found = {st['coordinator']['node'] for st in status.values()}
    if len(found) != 1 or any(st['node']['waiting_for'] for st in status.values()):
        return None
    number = found.pop()
    return number if number in status and status[number]['coordinator'].get('serving') else None


def status_of(node):
    """The status of a node whose agent is busy."""
    here = os.path.dirname(os.path.abspath(__file__))
    return json.loads(csvlab('exec', node.number, '--', 'python3', f'{here}/ask.py'))


def kill_mount(node):
    """SIGKILL to the node's mount process; the moment, in seconds."""
    at, pid = node['(time.monotonic(), (pid := ask()["node"]["pid"]), os.kill(pid, signal.SIGKILL))'][:2]
    wait_for(20, lambda: node[f'ended({pid})'])
    return at


def csvlab(*args):
    return subprocess.run([os.environ['CSVLAB'], *map(str, args)], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


faulthandler.dump_traceback_later(int(os.environ.get('DRIVE_S', 110)) - 5)
n = {i: Node(i) for i in range(1, int(os.environ['NODES']) + 1)}
