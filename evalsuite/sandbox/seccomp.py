"""Which requests to the operating system a sandboxed program is refused, as the kernel's filter program.

The filter is a deny list over what the namespaces of the sandbox leave reachable: no new processes (unless allowed),
no sockets but local ones, and nothing that inspects other processes, changes mounts or namespaces, loads kernel code or
enters kernel interfaces known for escapes. Source: linux/filter.h, linux/seccomp.h, and the system call tables of
Linux 6.1 (asm/unistd_64.h, asm-generic/unistd.h).
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data; low halves of the arguments
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX = 1
_X32 = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """A processor family: its audit number, and its number of each system call named below (absent: it has none)."""

    audit: int
    numbers: Mapping[str, int]
    x32: bool = False


#: Ends the program at once: nothing that runs a neural network asks for these.
KILLED = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "mount", "umount2", "pivot_root",
    "chroot", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "setns", "unshare",
    "bpf", "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon",
    "swapoff", "open_by_handle_at", "keyctl", "add_key", "request_key", "userfaultfd", "acct", "quotactl", "iopl",
    "ioperm", "settimeofday", "clock_settime", "syslog", "uselib", "lookup_dcookie", "memfd_secret",
)  # fmt: skip
#: Refused with an error, because honest libraries try them and go on without.
REFUSED: Mapping[str, int] = {
    "perf_event_open": errno.EPERM,
    "io_uring_setup": errno.ENOSYS,
    "io_uring_enter": errno.ENOSYS,
    "io_uring_register": errno.ENOSYS,
    "memfd_create": errno.ENOSYS,  # memory that no limit of a process counts
    "clone3": errno.ENOSYS,  # its flags cannot be seen by a filter; the C library then uses clone
}

_X86_64 = _Machine(
    audit=0xC000003E,
    x32=True,
    numbers={
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438, "mount": 165,
        "umount2": 166, "pivot_root": 155, "chroot": 161, "move_mount": 429, "open_tree": 428, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "setns": 308, "unshare": 272, "bpf": 321,
        "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
        "reboot": 169, "swapon": 167, "swapoff": 168, "open_by_handle_at": 304, "keyctl": 250, "add_key": 248,
        "request_key": 249, "userfaultfd": 323, "acct": 163, "quotactl": 179, "iopl": 172, "ioperm": 173,
        "settimeofday": 164, "clock_settime": 227, "syslog": 103, "uselib": 134, "lookup_dcookie": 212,
        "memfd_secret": 447, "perf_event_open": 298, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "memfd_create": 319, "clone3": 435, "clone": 56, "fork": 57, "vfork": 58,
        "socket": 41, "socketpair": 53, "ioctl": 16,
    },
)  # fmt: skip
_AARCH64 = _Machine(
    audit=0xC00000B7,
    numbers={
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "pidfd_getfd": 438, "mount": 40,
        "umount2": 39, "pivot_root": 41, "chroot": 51, "move_mount": 429, "open_tree": 428, "fsopen": 430,
        "fsconfig": 431, "fsmount": 432, "fspick": 433, "mount_setattr": 442, "setns": 268, "unshare": 97, "bpf": 280,
        "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
        "reboot": 142, "swapon": 224, "swapoff": 225, "open_by_handle_at": 265, "keyctl": 219, "add_key": 217,
        "request_key": 218, "userfaultfd": 282, "acct": 89, "quotactl": 60, "settimeofday": 170, "clock_settime": 112,
        "syslog": 116, "lookup_dcookie": 18, "memfd_secret": 447, "perf_event_open": 241, "io_uring_setup": 425,
        "io_uring_enter": 426, "io_uring_register": 427, "memfd_create": 279, "clone3": 435, "clone": 220,
        "socket": 198, "socketpair": 199, "ioctl": 29,
    },
)  # fmt: skip
MACHINES: Mapping[str, _Machine] = {"x86_64": _X86_64, "aarch64": _AARCH64}


def filter_program(*, processes: bool, machine: str | None = None) -> bytes | None:
    """The filter as an array of `struct sock_filter`, for bubblewrap's `--seccomp`.

    Parameters
    ----------
    processes
        Whether the program may start further processes; threads it may start either way.
    machine
        Processor family as `platform.machine()` names it; None for this one.

    Returns
    -------
    bytes or None
        None for a processor family without a table: the sandbox is then not available.
    """
    found = MACHINES.get(machine or platform.machine())
    if found is None:
        return None
    numbers = found.numbers
    lines = [_line(_LOAD, _ARCH), _line(_JEQ, found.audit, 1, 0), _return(_KILL), _line(_LOAD, _NR)]
    if found.x32:  # a second set of numbers for the same calls
        lines += [_line(_JGE, _X32, 0, 1), _return(_KILL)]
    for name in KILLED:
        if name in numbers:
            lines += [_line(_JEQ, numbers[name], 0, 1), _return(_KILL)]
    for name, code in REFUSED.items():
        if name in numbers:
            lines += [_line(_JEQ, numbers[name], 0, 1), _refuse(code)]
    for name in ("fork", "vfork"):
        if name in numbers and not processes:
            lines += [_line(_JEQ, numbers[name], 0, 1), _refuse(errno.EPERM)]
    for name in ("socket", "socketpair"):
        lines += _on(numbers[name], [_line(_LOAD, _ARG0), _line(_JEQ, _AF_UNIX, 1, 0), _refuse(errno.EAFNOSUPPORT)])
    spawn = [_line(_LOAD, _ARG0), _line(_JSET, _CLONE_NEW, 0, 1), _return(_KILL)]
    if not processes:
        spawn += [_line(_JSET, _CLONE_THREAD, 1, 0), _refuse(errno.EPERM)]
    lines += _on(numbers["clone"], spawn)
    typed = [_line(_LOAD, _ARG1), _line(_JEQ, _TIOCSTI, 1, 0), _line(_JEQ, _TIOCLINUX, 0, 1), _refuse(errno.EPERM)]
    lines += _on(numbers["ioctl"], typed)
    return b"".join([*lines, _return(_ALLOW)])


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _return(action: int) -> bytes:
    return _line(_RETURN, action)


def _refuse(code: int) -> bytes:
    return _return(_ERRNO | code)


def _on(number: int, block: list[bytes]) -> list[bytes]:
    """Run `block` for this system call alone; what falls through it is allowed."""
    return [_line(_JEQ, number, 0, len(block) + 1), *block, _return(_ALLOW)]
