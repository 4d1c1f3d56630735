"""Start a command in Linux namespaces of its own: `python -I -S isolation_process.py FOLDERS COMMAND...`.

FOLDERS is a JSON object. `hidden`, `readable` and `writable` are lists of paths, see `gitops.isolation`;
`links` has the real path of each path that leads over a link, and `processes` is the most processes at a
time. The command has the user's own number, no privileges, no network but a loopback of its own, no other
processes, and a file system that it can only read, but for its own folders. The rest of a hidden folder is
empty for it. With `service` it keeps the network, and may isolate commands of its own in turn.

Run as a file, since it must not load anything: it is the first process of each stage.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path

_NEW = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "network": 0x40000000, "ipc": 0x8000000}
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2
# These two have the same number on every architecture but alpha; glibc 2.36 has functions for neither.
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
_JOIN_SESSION_KEYRING = 1
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
# A folder that is always there, and below which nothing is shown or hidden.
_NEW_ROOT = "/proc"
_SHARED_MEMORY = "/dev/shm"
_NOBODY = 65534
_OWN_PIDS = (6, 14)
"""The first Linux in which each namespace has a highest process number of its own, and not the machine."""

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Run the command, and return its exit status, or 128 and the number of the signal that ended it."""
    folders, command, here = json.loads(arguments[0]), arguments[1:], Path.cwd()
    user, group = os.geteuid(), os.getegid()
    service = folders.pop("service")
    _checked("unshare", _libc.unshare(sum(_NEW.values()) - service * _NEW["network"]))
    Path("/proc/self/setgroups").write_text("deny")
    # The isolated commands of a service have a number of their own in turn, which Linux denies to root.
    seen = _NOBODY if service and user == 0 else user
    Path("/proc/self/uid_map").write_text(f"{seen} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    if first := os.fork():
        return _status(os.waitpid(first, 0)[1])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not service:
        _raise_loopback()
    _arrange(folders, folders.pop("links"), folders.pop("processes"), service)
    _leave_keyring()
    _give_up_privileges()
    try:
        os.chdir(here)
    except OSError:
        os.chdir("/")
    child = os.fork()
    if not child:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror}\n")
            sys.stderr.flush()
            os._exit(127)
    # The first process of a namespace takes over orphaned processes. With its end, all end.
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(_status(status))


def _limit(processes: int, highest: Path) -> None:
    """Limit the processes and threads of the command. The first limit does not hold for root."""
    most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = processes if most == resource.RLIM_INFINITY else min(processes, most)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    release = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if release >= _OWN_PIDS:
        highest.write_text(str(processes))


def _raise_loopback() -> None:
    """Let processes of the command talk to each other, such as those that train one network together."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))


def _arrange(folders: dict[str, list[str]], links: dict[str, str], processes: int, service: bool) -> None:
    """Make the command's view of the file system, and move there."""
    root = _NEW_ROOT
    proc = f"{root}/proc"
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("/", root, None, _MS_BIND | _MS_REC)
    _mount("proc", proc, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _limit(processes, Path(f"{proc}/sys/kernel/pid_max"))
    _set_attributes(root, _ATTR_RDONLY | _ATTR_NOSUID)
    if service:
        # Below a folder that is read-only for ever, Linux mounts no other one for the isolated commands.
        _checked("umount2", _libc.umount2(os.fsencode(proc), _MNT_DETACH))
        _mount("proc", proc, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("tmpfs", f"{root}{_SHARED_MEMORY}", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
    # A folder before those in it; where a folder is both hidden and shown, it is shown.
    steps = [(path, kind) for kind in ("hidden", "readable", "writable") for path in folders[kind]]
    for path, kind in sorted(steps, key=lambda step: step[0].count("/")):
        target = f"{root}{path}"
        if kind == "hidden":
            if Path(target).is_dir() and path not in folders["readable"] + folders["writable"]:
                _mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=1777")
            continue
        _make(path, target)
        _mount(path, target, None, _MS_BIND | _MS_REC)
        _set_attributes(target, _ATTR_NOSUID | (_ATTR_RDONLY if kind == "readable" else 0))
    for link, real in links.items():
        place = Path(f"{root}{link}")
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(real)
    os.chdir(root)
    _checked("pivot_root", _libc.syscall(_SYS_PIVOT_ROOT[os.uname().machine], b".", b"."))
    _checked("umount2", _libc.umount2(b".", _MNT_DETACH))
    os.chdir("/")


def _make(path: str, target: str) -> None:
    """Make an empty place for a folder or file in a hidden folder."""
    place = Path(target)
    if os.path.lexists(place):
        return
    if Path(path).is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _leave_keyring() -> None:
    """Get an empty keyring: no namespace hides the one of the session, which may hold keys."""
    joined = _libc.syscall(_SYS_KEYCTL[os.uname().machine], _JOIN_SESSION_KEYRING, None)
    # A kernel without keyrings, or a container that forbids them: the command has none either.
    if joined < 0 and ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
        _checked("keyctl", joined)


def _give_up_privileges() -> None:
    """Make sure that no program that is executed from now on has any capability."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
            _checked("prctl", -1)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    done = _libc.mount(text(source), text(target), text(kind), ctypes.c_ulong(flags), text(data))
    _checked(f"mount {target}", done)


def _set_attributes(target: str, attributes: int) -> None:
    """Set attributes of a mount and of all mounts below it."""
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    done = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, wanted, ctypes.sizeof(wanted)
    )
    _checked(f"mount_setattr {target}", done)


def _prctl(option: int, value: int) -> None:
    _checked("prctl", _libc.prctl(option, value, 0, 0, 0))


def _checked(name: str, result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
