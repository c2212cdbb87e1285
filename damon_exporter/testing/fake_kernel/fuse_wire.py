"""The messages of the FUSE protocol that the fake needs, as in <linux/fuse.h>, version 7.31."""

import os
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

MAJOR, MINOR = 7, 31


class Opcode(IntEnum):
    """Requests of the kernel that get an answer other than ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    MKDIR = 9
    RMDIR = 11
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    POLL = 40
    BATCH_FORGET = 42


NO_REPLY = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})

IN_HEADER = Struct("=IIQQIIII")
OUT_HEADER = Struct("=IiQ")
INIT_IN = Struct("=IIII")
INIT_OUT = Struct("=IIIIHHIIHHI28x")
ATTRIBUTES = Struct("=QQQQQQIIIIIIIIII")
ENTRY_OUT = Struct("=QQQQII")
ATTR_OUT = Struct("=QII")
SETATTR_IN = Struct("=IIQQQQQQIIIIIIII")
OPEN_IN = Struct("=II")
OPEN_OUT = Struct("=QIi")
READ_IN = Struct("=QQIIQII")
WRITE_IN = READ_IN
WRITE_OUT = Struct("=II")
RELEASE_IN = Struct("=QIIQ")
MKDIR_IN = Struct("=II")
DIRECTORY_ENTRY = Struct("=QQII")
FORGET_IN = Struct("=Q")
INTERRUPT_IN = Struct("=Q")
BATCH_FORGET_IN = Struct("=II")
BATCH_FORGET_ONE = Struct("=QQ")
POLL_IN = Struct("=QQII")
POLL_OUT = Struct("=II")
STATFS_OUT = Struct("=QQQQQIIII24x")
POLL_WAKEUP_OUT = Struct("=Q")
INVALIDATE_ENTRY_OUT = Struct("=QII")

CAN_BIG_WRITES = 1 << 5
CAN_PARALLEL_DIROPS = 1 << 18

OPEN_DIRECT_IO = 1 << 0
OPEN_NO_FLUSH = 1 << 5
OPEN_AS_ATTRIBUTE = OPEN_DIRECT_IO | OPEN_NO_FLUSH
"""Every read and write reaches the fake as it is."""

SETATTR_MODE = 1 << 0

NOTIFY_POLL = 1
NOTIFY_INVALIDATE_ENTRY = 3


class Request(NamedTuple):
    """One request of the kernel; ``body`` is what follows the header."""

    opcode: int
    unique: int
    node: int
    uid: int
    body: bytes

    @classmethod
    def parse(cls, message: bytes) -> "Request":
        """Split header and body."""
        _, opcode, unique, node, uid, *_ = IN_HEADER.unpack_from(message)
        return cls(opcode, unique, node, uid, message[IN_HEADER.size :])

    @property
    def name(self) -> str:
        """The zero-terminated name that the body of LOOKUP and RMDIR is."""
        return os.fsdecode(self.body.rstrip(b"\0"))


def reply(unique: int, body: bytes = b"", error: int = 0) -> bytes:
    """An answer; ``error`` is a positive errno."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), -error, unique) + body


def notification(code: int, body: bytes) -> bytes:
    """A message that no request asked for."""
    return OUT_HEADER.pack(OUT_HEADER.size + len(body), code, 0) + body


def wake_up(waiter: int) -> bytes:
    """Tell one who waits in poll(2) to look again."""
    return notification(NOTIFY_POLL, POLL_WAKEUP_OUT.pack(waiter))


def invalidated_name(folder: int, name: str) -> bytes:
    """Tell the real kernel that a name is not there any more."""
    encoded = os.fsencode(name)
    body = INVALIDATE_ENTRY_OUT.pack(folder, len(encoded), 0) + encoded + b"\0"
    return notification(NOTIFY_INVALIDATE_ENTRY, body)


def directory_entry(inode: int, offset: int, file_type: int, name: str) -> bytes:
    """One entry of READDIR's answer, padded to eight bytes. ``offset`` is where the next READDIR goes on."""
    encoded = os.fsencode(name)
    entry = DIRECTORY_ENTRY.pack(inode, offset, len(encoded), file_type) + encoded
    return entry + b"\0" * (-len(entry) % 8)
