"""Mounting and unmounting a FUSE file system with nothing but the two system calls."""

import ctypes
import os
from pathlib import Path

MS_NOSUID, MS_NODEV = 2, 4
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def mount(mountpoint: Path) -> int:
    """Mount an empty FUSE file system. Returns the descriptor on which its requests arrive."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40755,user_id={os.getuid()},group_id={os.getgid()},default_permissions,allow_other"
    result = _libc.mount(
        b"fake-kernel", os.fsencode(mountpoint), b"fuse.fake-kernel", MS_NOSUID | MS_NODEV, options.encode()
    )
    if result != 0:
        error = ctypes.get_errno()
        os.close(device)
        raise OSError(
            error,
            f"cannot mount a FUSE file system: {os.strerror(error)}; be root with CAP_SYS_ADMIN",
            str(mountpoint),
        )
    return device


def unmount(mountpoint: Path) -> None:
    """Take the file system out of the tree, even while files are open. Nothing happens if it is not mounted."""
    _libc.umount2(os.fsencode(mountpoint), MNT_DETACH)
