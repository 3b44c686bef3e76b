"""The filter program, run by a small interpreter of the kernel's filter language for both processor families."""

from __future__ import annotations

import errno
import struct

import pytest

from evalsuite.sandbox.seccomp import KILLED, MACHINES, REFUSED, filter_program

KILL, ALLOW = "kill", "allow"
THREAD = 0x00010000
NEW_USER, NEW_NET = 0x10000000, 0x40000000


def verdict(program: bytes, *, audit: int, number: int, first: int = 0, second: int = 0) -> str | int:
    """What the kernel would do: "kill", "allow" or an error number (linux/bpf_common.h, linux/seccomp.h)."""
    data = struct.pack("<IIQ6Q", number, audit, 0, first, second, 0, 0, 0, 0)
    lines = list(struct.iter_unpack("<HBBI", program))
    at = value = 0
    while True:
        code, if_true, if_false, k = lines[at]
        at += 1
        if code == 0x20:  # load a word
            (value,) = struct.unpack_from("<I", data, k)
        elif code in (0x15, 0x35, 0x45):  # jump: equal, at least, any bit in common
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += if_true if holds else if_false
        elif code == 0x06:
            return {0x80000000: KILL, 0x7FFF0000: ALLOW}.get(k) or k & 0xFFFF
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(params=[(m, p) for m in MACHINES for p in (False, True)], ids=str)
def program(request: pytest.FixtureRequest) -> tuple[str, bool, bytes]:
    machine, processes = request.param
    found = filter_program(processes=processes, machine=machine)
    assert found is not None
    return machine, processes, found


def test_each_named_call_is_ended_or_refused_and_others_are_not(program: tuple[str, bool, bytes]) -> None:
    machine, _, lines = program
    known = MACHINES[machine]
    for name in KILLED:
        if name in known.numbers:
            assert verdict(lines, audit=known.audit, number=known.numbers[name]) == KILL, name
    for name, code in REFUSED.items():
        assert verdict(lines, audit=known.audit, number=known.numbers[name]) == code, name
    listed = set(known.numbers.values())
    for number in set(range(500)) - listed:
        assert verdict(lines, audit=known.audit, number=number) == ALLOW


def test_calls_of_another_instruction_set_end_the_program(program: tuple[str, bool, bytes]) -> None:
    machine, _, lines = program
    other = next(m.audit for name, m in MACHINES.items() if name != machine)
    assert verdict(lines, audit=other, number=0) == KILL
    assert verdict(lines, audit=0x40000003, number=0) == KILL  # 32-bit x86, whose numbers mean other calls
    if machine == "x86_64":
        assert verdict(lines, audit=MACHINES[machine].audit, number=0x40000000 + 165) == KILL


def test_threads_are_allowed_processes_where_they_are_and_namespaces_never(program: tuple[str, bool, bytes]) -> None:
    machine, processes, lines = program
    known = MACHINES[machine]
    clone = known.numbers["clone"]
    may = ALLOW if processes else errno.EPERM
    assert verdict(lines, audit=known.audit, number=clone, first=THREAD | 0x11) == ALLOW
    assert verdict(lines, audit=known.audit, number=clone, first=0x11) == may
    assert verdict(lines, audit=known.audit, number=clone, first=NEW_USER | 0x11) == KILL
    assert verdict(lines, audit=known.audit, number=clone, first=NEW_NET | THREAD) == KILL
    for name in ("fork", "vfork"):
        if name in known.numbers:
            assert verdict(lines, audit=known.audit, number=known.numbers[name]) == may


def test_only_local_sockets_and_no_typing_into_terminals(program: tuple[str, bool, bytes]) -> None:
    machine, _, lines = program
    known = MACHINES[machine]
    for name in ("socket", "socketpair"):
        number = known.numbers[name]
        assert verdict(lines, audit=known.audit, number=number, first=1) == ALLOW
        for family in (2, 10, 16, 17, 38, 40, 44):  # IPv4, IPv6, netlink, packet, kernel crypto, vsock, XDP
            assert verdict(lines, audit=known.audit, number=number, first=family) == errno.EAFNOSUPPORT
    ioctl = known.numbers["ioctl"]
    assert verdict(lines, audit=known.audit, number=ioctl, second=0x5412) == errno.EPERM
    assert verdict(lines, audit=known.audit, number=ioctl, second=0x541C) == errno.EPERM
    assert verdict(lines, audit=known.audit, number=ioctl, second=0x5401) == ALLOW


def test_a_processor_without_a_table_has_no_filter() -> None:
    assert filter_program(processes=False, machine="riscv64") is None
