"""What can go wrong between us and the kernel, told with cause and cure.

KernelError
├── Busy         somebody else's command or kdamond is in the way, for now
├── Denied       these permissions do not allow it
├── Unsupported  this kernel does not have it
├── Rejected     the kernel refused the value
├── NotOurs      another tool has changed what we meant to command
├── Gone         it was there a moment ago
└── Stuck        the kernel has not answered in time

`Ending` is none of them: nothing is wrong, so nothing is to be tried again, left alone or reported.
"""

import errno
from pathlib import Path


class KernelError(Exception):
    """A file of the kernel's could not be read or written; the message names cause and cure."""


class Busy(KernelError, BlockingIOError):
    """EBUSY: another command is under way, or an exclusive user of DAMON runs."""


class Denied(KernelError, PermissionError):
    """EACCES, EPERM or EROFS."""


class Unsupported(KernelError, FileNotFoundError):
    """ENOENT: the running kernel has no such file."""


class Rejected(KernelError, ValueError):
    """EINVAL, or ENOMEM, which DAMON also gives for a scheme that it cannot build."""


class NotOurs(KernelError):
    """Another tool has changed what we meant to command, or writes there too; we stop writing and observe."""


class Gone(KernelError, ConnectionError):
    """ECANCELED or ENODEV: the kdamond or its folder went away meanwhile."""


class Stuck(KernelError, TimeoutError):
    """The kernel has not answered a command in time; the writer cannot be interrupted."""


class Ending(Exception):
    """The exporter has been asked to end: only what puts the kernel back is still begun."""


_CLASSES: dict[int, tuple[type[KernelError], str]] = {
    errno.EBUSY: (Busy, "busy: another command or another user of DAMON is in the way; try again"),
    errno.EACCES: (Denied, "permission denied: run as uid 0 (no capability is needed)"),
    errno.EPERM: (Denied, "not permitted: run as uid 0, and allow it in AppArmor, SELinux and lockdown"),
    errno.EROFS: (Denied, "read-only file system: mount this folder read-write into the container"),
    errno.ENOENT: (Unsupported, "no such file: this kernel does not have it, or the mount is missing"),
    errno.EINVAL: (Rejected, "the kernel refused the value"),
    errno.ENOMEM: (Rejected, "the kernel could not build it: no memory, or a scheme names a missing cgroup"),
    errno.ECANCELED: (Gone, "cancelled: the kdamond has ended"),
    errno.ESRCH: (Gone, "gone: the process has ended"),
    errno.ENODEV: (Gone, "gone: another tool has made the folder anew"),
}


def explain(error: OSError, action: str, path: Path | str) -> KernelError:
    """Turn an errno into the exception that names cause and cure; ``action`` is "read" or "write 'on' to"."""
    number = error.errno or 0
    kind, cause = _CLASSES.get(number, (KernelError, error.strerror or str(error)))
    return kind(f"cannot {action} {path}: {cause} ({errno.errorcode.get(number, number)})")
