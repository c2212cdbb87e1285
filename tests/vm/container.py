"""Becomes the command in its arguments inside a container, with the mounts and rights that a runtime would give it.

Runs in the guest, as /container.py. The first argument is a file with the pod's part as JSON: ``mounts``, each with
``source``, ``target`` and ``read_only``, where no source is an empty folder in memory; ``env``; and ``cgroup``, the
container's. For every container it is so: a root file system that cannot be written, a /proc in the pid namespace of
the host with parts masked or read-only, a read-only /sys without /sys/firmware, a cgroup namespace of its own, no
capability, and no way to get one. What is not made: another network, and a filter of system calls.
"""

import ctypes
import json
import os
import sys
from pathlib import Path

from without_capabilities import drop_capabilities

ROOT = Path("/run/container")
CGROUPS = Path("/sys/fs/cgroup")
CLONE_NEWNS, CLONE_NEWCGROUP = 0x20000, 0x2000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
DEVICES = {"null": (1, 3), "zero": (1, 5), "urandom": (1, 9)}
MASKED = ("proc/kcore", "proc/keys", "proc/timer_list")
READ_ONLY = ("proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger")

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: Path, kind: str = "", flags: int = 0) -> None:
    """As mount(2); raises OSError."""
    if libc.mount(source.encode(), os.fsencode(target), kind.encode(), flags, None):
        raise OSError(ctypes.get_errno(), f"cannot mount {source or kind or flags}", str(target))


def make_read_only(target: Path) -> None:
    """A mount, seen from this namespace, but not those below it; raises OSError."""
    mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY)


def enter(mounts: list[dict[str, object]], cgroup: str) -> None:
    """Make it, and go in; raises OSError."""
    ours = CGROUPS / cgroup.lstrip("/")
    ours.mkdir(parents=True, exist_ok=True)
    (ours / "cgroup.procs").write_text(str(os.getpid()))
    if libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP):
        raise OSError(ctypes.get_errno(), "cannot make namespaces")
    mount("", Path("/"), flags=MS_REC | MS_PRIVATE)
    ROOT.mkdir(exist_ok=True)
    mount("/", ROOT, flags=MS_BIND)
    mount("proc", ROOT / "proc", "proc")
    mount("sysfs", ROOT / "sys", "sysfs", MS_RDONLY)
    mount("tmpfs", ROOT / "sys/firmware", "tmpfs", MS_RDONLY)
    mount("cgroup2", ROOT / "sys/fs/cgroup", "cgroup2", MS_RDONLY)
    mount("tmpfs", ROOT / "dev", "tmpfs")
    for name, (major, minor) in DEVICES.items():
        os.mknod(ROOT / "dev" / name, 0o20666, os.makedev(major, minor))
    for place in filter(Path.exists, map(ROOT.joinpath, MASKED)):
        mount("/dev/null", place, flags=MS_BIND)
    for place in filter(Path.exists, map(ROOT.joinpath, READ_ONLY)):
        mount(str(place), place, flags=MS_BIND | MS_REC)
        make_read_only(place)
    for wanted in mounts:
        add(**wanted)  # type: ignore[arg-type]
    make_read_only(ROOT)
    os.chroot(ROOT)
    os.chdir("/")


def add(source: str | None, target: str, read_only: bool) -> None:
    """Add one mount below the new root."""
    place = ROOT / target.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    if source is None:
        mount("tmpfs", place, "tmpfs")
    else:
        mount(source, place, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(place)


if __name__ == "__main__":
    pod = json.loads(Path(sys.argv[1]).read_text())
    enter(pod["mounts"], pod["cgroup"])
    os.environ.update(pod["env"])
    drop_capabilities()
    os.execvp(sys.argv[2], sys.argv[2:])
