"""Runs a program under what a systemd unit forbids: `confined.py UNIT COMMAND…`.

There need be no systemd that runs: the unit's SystemCallFilter=, MemoryDenyWriteExecute=, RestrictAddressFamilies=,
RestrictNamespaces=, RestrictRealtime= and RestrictSUIDSGID= are made filters of the kernel (by libseccomp; the sets of calls
are those of `systemd-analyze syscall-filter`), as systemd makes them, but for one thing: what is forbidden ends the program
(SIGSYS) in place of failing, so that nothing forbidden can be done unseen. Who is root becomes nobody first. Mounts,
devices and the like are not among it."""
import ctypes
import errno
import os
import pathlib
import re
import subprocess
import sys

import seccomp

PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000
CLONE_NEW = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
S_ISUID, S_ISGID = 0o4000, 0o2000
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
NOBODY = 65534
FORBIDDEN = seccomp.KILL_PROCESS


def settings(unit):
    """Name to values, in order, of a unit's file."""
    found = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", pathlib.Path(unit).read_text(), re.M):
        found.setdefault(name, []).append(value)
    return found


def calls_of(names):
    """System calls that names and @sets of systemd's stand for."""
    found, wanted = set(), list(names)
    while wanted:
        name = wanted.pop()
        if not name.startswith("@"):
            found.add(name)
            continue
        listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
        wanted += re.findall(r"^ +(@?[\w-]+)$", listed.stdout, re.M)
    return found


def allowed_calls(unit):
    """What SystemCallFilter= leaves; systemd always allows @default with a list of what is allowed."""
    allowed = calls_of(["@default"])
    for value in settings(unit)["SystemCallFilter"]:
        if value.startswith("~"):
            allowed -= calls_of(value[1:].split()) - calls_of(["@default"])
        else:
            allowed |= calls_of(value.split())
    return allowed


def known(name):
    try:
        return seccomp.resolve_syscall(seccomp.Arch(), name) >= 0
    except (RuntimeError, ValueError):
        return False


def forbid_memory(add):
    both = PROT_WRITE | PROT_EXEC
    add("mmap", seccomp.Arg(2, seccomp.MASKED_EQ, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        add(name, seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, PROT_EXEC))
    add("shmat", seccomp.Arg(2, seccomp.MASKED_EQ, SHM_EXEC, SHM_EXEC))


def forbid_families(add, families):
    allowed = sorted(FAMILIES[family] for family in families)
    add("socket", seccomp.Arg(0, seccomp.GT, allowed[-1]))
    for number in range(allowed[-1]):
        if number not in allowed:
            add("socket", seccomp.Arg(0, seccomp.EQ, number))


def forbid_namespaces(add, rules):
    for flag in CLONE_NEW:
        add("clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")  # as systemd does: its flags cannot be looked at
    for name in ("unshare", "setns"):
        add(name)


def forbid_bits(add):
    for name, index in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("open", 2), ("openat", 3), ("mkdir", 1), ("mkdirat", 2)):
        for bit in (S_ISUID, S_ISGID):
            add(name, seccomp.Arg(index, seccomp.MASKED_EQ, bit, bit))


def confine(unit):
    """Two filters, of which the kernel takes the stricter answer: which calls, and with which arguments."""
    said = settings(unit)
    calls = seccomp.SyscallFilter(FORBIDDEN)
    for name in sorted(allowed_calls(unit)):
        if known(name):
            calls.add_rule(seccomp.ALLOW, name)
    rules = seccomp.SyscallFilter(seccomp.ALLOW)

    def add(name, *args):
        rules.add_rule(FORBIDDEN, name, *args)
    if said["MemoryDenyWriteExecute"] == ["yes"]:
        forbid_memory(add)
    if said["RestrictNamespaces"] == ["yes"]:
        forbid_namespaces(add, rules)
    if said["RestrictRealtime"] == ["yes"]:
        for policy in (1, 2, 6):
            add("sched_setscheduler", seccomp.Arg(1, seccomp.EQ, policy))
    if said["RestrictSUIDSGID"] == ["yes"]:
        forbid_bits(add)
    forbid_families(add, said["RestrictAddressFamilies"][0].split())
    rules.load()
    calls.load()


def main():
    unit, command = sys.argv[1], sys.argv[2:]
    if os.geteuid() == 0:  # DynamicUser=
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    confine(unit)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
