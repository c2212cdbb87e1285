"""Becomes the command in its arguments, as uid 0 but without any capability, for good.

Runs in the guest. The bounding set and all five others are emptied and no_new_privs is set, so that execve
gives none back.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def drop_capabilities() -> None:
    """Raises OSError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    highest = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    refused = [libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) for capability in range(highest + 1)]
    refused.append(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    refused.append(libc.capset(header, (ctypes.c_uint32 * 6)()))  # the ambient set empties with the others
    if any(refused):
        raise OSError(ctypes.get_errno(), "capabilities could not be dropped")


if __name__ == "__main__":
    drop_capabilities()
    os.execvp(sys.argv[1], sys.argv[1:])
