"""The attacks of test_sandbox_attacks.py on what is outside the sandbox, and on its resources.

One comment line each, with its name and what must be found in the reason of its verdict; then the
program, which ends without an exception only if the attack succeeds. A comment line in capitals
begins a kind of attack. None does lasting harm if it succeeds.
"""

from __future__ import annotations

import re

# What a pattern's words in capitals stand for.
_WORDS = {
    "REFUSED": "(PermissionError|FileNotFoundError|OSError|ProcessLookupError)",
    "TIME": "processor time",
    "STOPPED": "stopped before its end",
}
# Every attack begins with this, and with the names of what it is after (`Outside.names`).
PREAMBLE = """
import ctypes, functools, gc, os, resource, signal, socket, sys, time, _thread
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
def anything(action, *choices):
    for choice in choices:
        try:
            return action(choice)
        except OSError as problem:
            last = problem
    raise last
"""


def attacks(text: str) -> dict[str, tuple[str, str]]:
    """Program and pattern of each attack of such a text, by name."""
    found = {}
    for head, program in re.findall(r"^# (.+: .+)\n((?:[^#\n].*\n)+)", text, re.MULTILINE):
        name, pattern = head.split(": ", 1)
        for word, meaning in _WORDS.items():
            pattern = pattern.replace(word, meaning)
        found[name] = (program, pattern)
    return found


OUTWARD = """
# RESOURCES
# an endless loop: TIME
while True: pass
# a loop inside C: TIME|MemoryError
x = 10 ** (10 ** 9)
# ignoring every signal: TIME
for s in range(1, 65):
 try: signal.signal(s, signal.SIG_IGN)
 except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass
# raising its own limits: raised.*(PermissionError|ValueError|OSError)
resource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))
# an endless output: TIME
while True: print('x' * 100000)
# one huge object: MemoryError
bytearray(1 << 40)
# memory, bit by bit: MemoryError
x = []
while True: x.append(bytearray(1 << 20))
# memory that is shared: OSError|MemoryError
import mmap
m = mmap.mmap(-1, 1 << 33)
# memory in a file without a name: REFUSED
os.memfd_create('x')
# shared memory for all: REFUSED
open('/dev/shm/x', 'w')
# System V shared memory: REFUSED
call('shmget', 1, 1 << 20, 0o1600)
# recursion without end: MemoryError|SIGSEGV|TIME
sys.setrecursionlimit(10 ** 9)
def f(): return f()
f()
# recursion inside C: MemoryError|SIGSEGV|RecursionError|TIME
sys.setrecursionlimit(10 ** 9)
x = []
for _ in range(10 ** 7): x = [x]
repr(x)
# a source that breaks compilers: MemoryError|SyntaxError|RecursionError|SIGSEGV
compile('(' * 10 ** 6, '', 'eval')
# a fork bomb: REFUSED
for _ in range(200): os.fork() or time.sleep(100)
# vfork and clone: REFUSED
call('syscall', 56 if os.uname().machine == 'x86_64' else 220, 17, 0)
# another program: REFUSED
import subprocess
subprocess.run(["/bin/true"])
# becoming another program: REFUSED
os.execv(sys.executable, ['python'])
# a daemon: REFUSED
os.setsid()
os.fork() and os._exit(0)
# a bomb of threads: can't start new thread
while True: _thread.start_new_thread(time.sleep, (100,))
# a huge file: OSError|wrote more
with open('x', 'wb') as f:
 while True: f.write(bytes(1 << 20))
# many files: OSError|wrote more
for i in range(10 ** 6): open(str(i), 'w').write('x')
# folders without end: OSError|wrote more|FileNotFoundError
while True:
 os.mkdir('x' * 200, 0o700)
 os.chdir('x' * 200)
# open files without end: OSError
x = [os.open('/dev/null', 0) for _ in range(10 ** 5)]
# core dumps: signal SIG
os.abort()
# NETWORK
# a TCP connection: REFUSED
socket.create_connection(('127.0.0.1', TCP))
# a TCP connection, version 6: REFUSED
socket.socket(socket.AF_INET6).connect(('::1', TCP))
# a datagram: REFUSED
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', TCP))
# a raw socket: REFUSED
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
# netlink: REFUSED
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
# a server: REFUSED
socket.socket().bind(('127.0.0.1', 0))
# a name server: raised
socket.getaddrinfo('localhost', 80)
# a page: URLError
import urllib.request
urllib.request.urlopen(f'http://127.0.0.1:{TCP}')
# a Unix socket: REFUSED
socket.socket(socket.AF_UNIX).connect(UNIX)
# an abstract Unix socket: REFUSED
socket.socket(socket.AF_UNIX).connect('\\0' + ABSTRACT)
# a datagram out of a socket pair: REFUSED
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendto(b'x', UNIX)
# a descriptor through a socket pair: REFUSED
a, b = socket.socketpair()
socket.send_fds(a, [b'x'], [1])
# io_uring: REFUSED
call('syscall', 425, 1, bytes(120))
# FILES
# the user's keys: REFUSED
open(HOME + '/.ssh/id_rsa').read()
# a list of the user's files: REFUSED
os.listdir(HOME)
# a file beside it: REFUSED
open(OUTSIDE).read()
# the password file: REFUSED
anything(open, '/etc/passwd', '/etc/shadow', '/etc/hostname')
# others' packages: StopIteration|REFUSED
import sysconfig
path = sysconfig.get_path('stdlib') + '/site-packages'
files = [path + '/' + name for name in os.listdir(path)]
open(next(f for f in files if f.endswith(('.py', '.txt', '.pth'))))
# the environment: AssertionError
assert 'EXME_SECRET' in os.environ
# the environment, from C: AssertionError
libc.getenv.restype = ctypes.c_char_p
assert libc.getenv(b'EXME_SECRET')
# the parent's environment: REFUSED
open(f'/proc/{PARENT}/environ', 'rb').read()
# the parent's memory: REFUSED
open(f'/proc/{PARENT}/mem', 'rb')
# its own memory: REFUSED
anything(lambda p: open(p, 'r+b'), '/proc/self/mem', '/proc/1/mem')
# the list of processes: REFUSED
anything(os.listdir, '/proc', '/proc/self/fd')
# writing a file elsewhere: REFUSED
anything(lambda p: open(p, 'w'), OUTSIDE, '/x', '/tmp/x', '/var/tmp/x')
# writing above the scratch folder: REFUSED
anything(lambda p: open(p, 'w'), '../x', '../../exme-attack-escaped')
# removing the scratch folder: REFUSED
os.rmdir(os.getcwd())
# another scratch folder: REFUSED
os.rename(os.getcwd(), os.getcwd() + '2')
# descriptors of ours: OSError
anything(os.fstat, *range(3, 5000))
# emptying a file elsewhere: REFUSED
os.open(OUTSIDE, os.O_RDONLY | os.O_TRUNC)
# a file without a name elsewhere: REFUSED
os.open(HOME, os.O_TMPFILE | os.O_RDWR)
# removing a file elsewhere: REFUSED
os.unlink(OUTSIDE)
# renaming a file elsewhere: REFUSED
anything(lambda p: os.rename(OUTSIDE, p), 'x', OUTSIDE + '2')
# opening a file to all: REFUSED
os.chmod(OUTSIDE, 0o777)
# giving a file another date: REFUSED
os.utime(OUTSIDE, (0, 0))
# changing the library: REFUSED
open(os.__file__, 'a')
# changing the library's dates: REFUSED
d = os.open(os.__file__, 0)
os.utime(d, ns=(os.fstat(d).st_atime_ns, os.fstat(d).st_mtime_ns))
# a link out of the scratch folder: REFUSED
os.symlink(OUTSIDE, 'x')
open('x').read()
# a link to a folder: REFUSED
os.symlink(HOME, 'x')
open('x/new', 'w')
# a hard link: REFUSED
os.link(OUTSIDE, 'x')
# a way up: REFUSED
os.chdir('../../../../..' + HOME)
open('.ssh/id_rsa').read()
# a path without a right: REFUSED
d = os.open(OUTSIDE, os.O_PATH)
open(f'/proc/self/fd/{d}').read()
# a device: REFUSED
anything(lambda p: os.open(p, 0), '/dev/mem', '/dev/kmsg', '/dev/sda', '/dev/vda', '/dev/tty', '/dev/ptmx')
# making a device: REFUSED
os.mknod('x', 0o060600, os.makedev(8, 0))
# typing into the terminal: REFUSED
import fcntl
fcntl.ioctl(0, 0x5412, b'x')
# PROCESSES
# killing the parent: REFUSED
os.kill(os.getppid(), 0)
# killing a process: REFUSED
os.kill(VICTIM, 9)
# killing everything: REFUSED
os.kill(-1, 0)
# killing the group: REFUSED
anything(lambda p: os.killpg(p, 0), 0, os.getppid())
# killing by descriptor: REFUSED
os.pidfd_open(os.getppid())
# killing with a value: REFUSED
call('sigqueue', os.getppid(), 0, 0)
# a signal by way of a pipe: REFUSED
import fcntl
a, b = os.pipe()
fcntl.fcntl(a, fcntl.F_SETOWN, os.getppid())
# tracing the parent: REFUSED
call('ptrace', 16, os.getppid(), 0, 0)
# being traced: REFUSED
call('ptrace', 0, 0, 0, 0)
# reading another's memory: REFUSED
call('process_vm_readv', os.getppid(), 0, 0, 0, 0, 0)
# another's limits: REFUSED
resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
# another's priority: REFUSED
os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)
# another's processors: REFUSED
os.sched_setaffinity(os.getppid(), {0})
# a session of its own: REFUSED
os.setsid()
# outliving its keeper: REFUSED
call('prctl', 1, 0, 0, 0, 0)
# another user: REFUSED
os.setuid(0 if os.getuid() else 1)
# capabilities: REFUSED
call('capset', bytes((34, 5, 8, 32, 0, 0, 0, 0)), bytes([255] * 24))
# mounting: REFUSED
call('mount', b'x', b'.', b'tmpfs', 0, 0)
# unmounting: REFUSED
anything(lambda p: call('umount2', p, 2), b'/', b'.', b'/tmp/program')
# another root: REFUSED
os.chroot('.')
# namespaces: REFUSED
anything(lambda f: call('unshare', f), 0x10000000, 0x20000, 0x40000000)
# lifting the filter: REFUSED
call('prctl', 22, 0, 0, 0, 0)
# calls of 32 bits: signal SIGSYS
assert os.uname().machine == 'x86_64', 'signal SIGSYS elsewhere'
import mmap
m = mmap.mmap(-1, 4096, prot=7)
m.write(bytes.fromhex('b814000000cd80c3'))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
# doors of the kernel: REFUSED
x86 = os.uname().machine == 'x86_64'
bpf, perf_event_open, userfaultfd, keyctl = (321, 298, 323, 250) if x86 else (280, 241, 282, 219)
init_module, kexec_load, reboot, settime = (175, 246, 169, 164) if x86 else (105, 104, 142, 170)
for n in (bpf, perf_event_open, userfaultfd, keyctl, init_module, kexec_load, reboot, settime):
    if libc.syscall(n, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() != 1: break
else: raise PermissionError
"""
