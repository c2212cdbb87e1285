"""What the fake answers to each kind of FUSE request."""

import errno
import os
import select
import stat
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition

from damon_exporter.testing.fake_kernel import fuse_wire as wire
from damon_exporter.testing.fake_kernel.faults import Faults
from damon_exporter.testing.fake_kernel.fuse_wire import Opcode, Request
from damon_exporter.testing.fake_kernel.tree import (
    Directory,
    Entries,
    File,
    Link,
    Node,
    Pipe,
    Root,
    expect,
    fail,
    inode_numbers,
)

MAX_WRITE_BYTES = 1 << 17
VALID_SECONDS = 1 << 20  # names and modes are cached until the fake says that they have changed


@dataclass
class Handle:
    """An open file. ``content`` is what reading at position 0 gave, as in the kernel's seq_file."""

    node: File
    content: bytes = b""


class Requests:
    """Answers from ``root``, with ``lock`` held; ``send`` sends messages that nobody asked for."""

    def __init__(self, root: Root, lock: Condition, faults: Faults, send: Callable[[bytes], None]) -> None:
        self._root = root
        self._lock = lock
        self._faults = faults
        self._send = send
        self._nodes: dict[int, Node] = {root.inode: root}
        self._lookups: dict[int, int] = {root.inode: 1}
        self._handles: dict[int, Handle] = {}
        self._last_handle = 0
        self._interrupted: set[int] = set()
        self._answers: dict[int, Callable[[Request], bytes]] = {
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._lookup,
            Opcode.FORGET: self._forget,
            Opcode.BATCH_FORGET: self._batch_forget,
            Opcode.GETATTR: self._getattr,
            Opcode.SETATTR: self._setattr,
            Opcode.READLINK: self._readlink,
            Opcode.MKDIR: self._mkdir,
            Opcode.RMDIR: self._rmdir,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.WRITE: self._write,
            Opcode.RELEASE: self._release,
            Opcode.OPENDIR: self._opendir,
            Opcode.READDIR: self._readdir,
            Opcode.RELEASEDIR: lambda _: b"",
            Opcode.STATFS: lambda _: wire.STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0),
            Opcode.INTERRUPT: self._interrupt,
            Opcode.POLL: self._poll,
        }

    def may_wait(self, request: Request) -> bool:
        """Whether the request needs a thread of its own."""
        if request.opcode not in (Opcode.READ, Opcode.WRITE):
            return False
        node = expect(self._nodes[request.node], File)
        waits = node.may_wait
        if isinstance(node, Pipe):
            *_, flags, _ = wire.READ_IN.unpack_from(request.body)
            waits = not flags & os.O_NONBLOCK
        return waits or self._faults.delays

    def answer(self, request: Request) -> bytes:
        """The whole answer to one request."""
        answer = self._answers.get(request.opcode)
        if answer is None:
            return wire.reply(request.unique, error=errno.ENOSYS)
        try:
            return wire.reply(request.unique, answer(request))
        except OSError as error:
            return wire.reply(request.unique, error=error.errno or errno.EIO)
        finally:
            self._interrupted.discard(request.unique)

    def _init(self, request: Request) -> bytes:
        _, _, readahead, flags = wire.INIT_IN.unpack_from(request.body)
        flags &= wire.CAN_BIG_WRITES | wire.CAN_PARALLEL_DIROPS
        return wire.INIT_OUT.pack(wire.MAJOR, wire.MINOR, readahead, flags, 0, 0, MAX_WRITE_BYTES, 1, 0, 0, 0)

    def _lookup(self, request: Request) -> bytes:
        node = self._folder(request).children.get(request.name)
        if node is None:
            raise fail(errno.ENOENT)
        return self._entry(node)

    def _entry(self, node: Node) -> bytes:
        """The answer that makes a node known to the real kernel, until that forgets it.

        The real kernel lets one writer at a time to an inode. So a file whose writes may wait is another inode to
        it at every look-up, which keeps the name from being cached; stat(2) shows the same inode number each time.
        """
        inode, valid = node.inode, VALID_SECONDS
        if isinstance(node, File) and node.may_wait:
            inode, valid = next(inode_numbers), 0
        self._nodes[inode] = node
        self._lookups[inode] = self._lookups.get(inode, 0) + 1
        return wire.ENTRY_OUT.pack(inode, 0, valid, VALID_SECONDS, 0, 0) + attributes(node)

    def _forget(self, request: Request) -> bytes:
        self._forget_one(request.node, *wire.FORGET_IN.unpack_from(request.body))
        return b""

    def _batch_forget(self, request: Request) -> bytes:
        for inode, count in wire.BATCH_FORGET_ONE.iter_unpack(request.body[wire.BATCH_FORGET_IN.size :]):
            self._forget_one(inode, count)
        return b""

    def _forget_one(self, inode: int, count: int) -> None:
        self._lookups[inode] -= count
        if self._lookups[inode] <= 0:
            del self._nodes[inode], self._lookups[inode]

    def _folder(self, request: Request) -> Directory:
        """The folder that a request by path is about. ESTALE makes the real kernel look the path up again."""
        node = self._nodes[request.node]
        if node.removed:
            raise fail(errno.ESTALE)
        return expect(node, Directory)

    def _getattr(self, request: Request) -> bytes:
        return wire.ATTR_OUT.pack(VALID_SECONDS, 0, 0) + attributes(self._nodes[request.node])

    def _setattr(self, request: Request) -> bytes:
        """Modes change; the truncation of `echo x > file` is taken and changes nothing, as in sysfs."""
        valid, *_, mode, _, _, _, _ = wire.SETATTR_IN.unpack_from(request.body)
        node = self._nodes[request.node]
        if valid & wire.SETATTR_MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return self._getattr(request)

    def _readlink(self, request: Request) -> bytes:
        return os.fsencode(expect(self._nodes[request.node], Link).target)

    def _mkdir(self, request: Request) -> bytes:
        folder, name = self._folder(request), os.fsdecode(request.body[wire.MKDIR_IN.size :].rstrip(b"\0"))
        self._faults.strike("mkdir", f"{folder.path}/{name}")
        return self._entry(folder.mkdir(name))

    def _rmdir(self, request: Request) -> bytes:
        folder = self._folder(request)
        self._faults.strike("rmdir", f"{folder.path}/{request.name}")
        folder.rmdir(request.name)
        self._root.dropped_names.remove((folder.inode, request.name))  # rmdir(2) itself drops it
        return b""

    def _open(self, request: Request) -> bytes:
        flags, _ = wire.OPEN_IN.unpack_from(request.body)
        node = expect(self._nodes[request.node], File)
        if node.removed:
            raise fail(errno.ESTALE)
        refuse_by_mode(node, flags)
        self._faults.strike("open", node.path)
        self._last_handle += 1
        self._handles[self._last_handle] = Handle(node)
        node.opens += 1
        return wire.OPEN_OUT.pack(self._last_handle, wire.OPEN_AS_ATTRIBUTE, 0)

    def _release(self, request: Request) -> bytes:
        number, *_ = wire.RELEASE_IN.unpack_from(request.body)
        self._handles.pop(number).node.opens -= 1
        return b""

    def _opened(self, number: int) -> Handle:
        """The open file of a request. Once its file is removed, kernfs answers ENODEV."""
        handle = self._handles[number]
        if handle.node.removed:
            raise fail(errno.ENODEV)
        return handle

    def _read(self, request: Request) -> bytes:
        number, offset, size, _, _, flags, _ = wire.READ_IN.unpack_from(request.body)
        handle = self._opened(number)
        self._faults.wait("read", handle.node.path, self._lock)
        self._faults.strike("read", handle.node.path)
        if isinstance(handle.node, Pipe):
            return self._read_pipe(handle.node, size, request.unique, blocking=not flags & os.O_NONBLOCK)
        if isinstance(handle.node, Entries):
            return handle.node.read_at(offset, size)
        if offset == 0:
            handle.content = os.fsencode(handle.node.read())
        return handle.content[offset : offset + size]

    def _read_pipe(self, pipe: Pipe, size: int, unique: int, *, blocking: bool) -> bytes:
        while (data := pipe.take(size)) is None:
            if not blocking:
                raise fail(errno.EAGAIN)
            if unique in self._interrupted:
                raise fail(errno.EINTR)
            if pipe.removed:
                raise fail(errno.ENODEV)
            self._lock.wait()
        return data

    def _interrupt(self, request: Request) -> bytes:
        """A signal ends the reading of a pipe. Commands to DAMON sleep on, as in the kernel."""
        self._interrupted.add(*wire.INTERRUPT_IN.unpack_from(request.body))
        self._lock.notify_all()
        return b""

    def _write(self, request: Request) -> bytes:
        number, _, size, *_ = wire.WRITE_IN.unpack_from(request.body)
        node = self._opened(number).node
        self._faults.wait("write", node.path, self._lock)
        self._faults.strike("write", node.path)
        node.write(request.body[wire.WRITE_IN.size :][:size].decode(errors="replace"))
        self._lock.notify_all()
        return wire.WRITE_OUT.pack(size, 0)

    def _poll(self, request: Request) -> bytes:
        number, waiter, _, _ = wire.POLL_IN.unpack_from(request.body)
        node = self._handles[number].node
        if not isinstance(node, Pipe):
            return wire.POLL_OUT.pack(select.POLLIN | select.POLLOUT, 0)
        if node.ready():
            return wire.POLL_OUT.pack(select.POLLIN, 0)
        node.watchers.append(lambda: self._send(wire.wake_up(waiter)))
        return wire.POLL_OUT.pack(0, 0)

    def _opendir(self, request: Request) -> bytes:
        self._folder(request)
        return wire.OPEN_OUT.pack(0, 0, 0)

    def _readdir(self, request: Request) -> bytes:
        _, offset, size, *_ = wire.READ_IN.unpack_from(request.body)
        folder = expect(self._nodes[request.node], Directory)
        listing = b""
        for position, child in enumerate(list(folder.children.values())[offset:], offset + 1):
            entry = wire.directory_entry(child.inode, position, stat.S_IFMT(child.mode) >> 12, child.name)
            if len(listing) + len(entry) > size:
                break
            listing += entry
        return listing


def attributes(node: Node) -> bytes:
    """What stat(2) shows. Everything belongs to root."""
    size = node.size if isinstance(node, File) else 0
    return wire.ATTRIBUTES.pack(node.inode, size, 0, 0, 0, 0, 0, 0, 0, node.mode, 1, 0, 0, 0, 4096, 0)


def refuse_by_mode(node: File, flags: int) -> None:
    """EACCES, even for root, where the file lacks the mode bits (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK)."""
    access = flags & os.O_ACCMODE
    if access in (os.O_WRONLY, os.O_RDWR) and not node.mode & 0o222:
        raise fail(errno.EACCES)
    if access in (os.O_RDONLY, os.O_RDWR) and not node.mode & 0o444:
        raise fail(errno.EACCES)
