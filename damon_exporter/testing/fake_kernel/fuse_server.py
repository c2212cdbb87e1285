"""Answers the kernel's FUSE requests from the tree of a fake kernel.

Every request is answered in the one thread that reads them, except those that may wait (writes, and reads of
pipes): they get a thread each, so that a `state` command in flight blocks nobody else, as in the kernel.
"""

import errno
import os
import select
import stat
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread

from damon_exporter.testing.fake_kernel import fuse_wire as wire
from damon_exporter.testing.fake_kernel.faults import Faults
from damon_exporter.testing.fake_kernel.fuse_wire import Opcode, Request
from damon_exporter.testing.fake_kernel.tree import Directory, File, Node, Pipe, Root, fail

MESSAGE_BYTES = 1 << 20
MAX_WRITE_BYTES = 1 << 17
NAME_VALID_SECONDS = 1 << 20  # names are cached until we say that they are gone


@dataclass
class Handle:
    """An open file. ``content`` is what reading at position 0 gave, as in the kernel's seq_file."""

    node: File
    content: bytes = b""


class FuseServer:
    """Serves ``root`` to whoever uses the mount behind the descriptor ``device``; ``lock`` guards the tree."""

    def __init__(self, device: int, root: Root, lock: Condition, faults: Faults) -> None:
        self.device = device
        self.root = root
        self.lock = lock
        self.faults = faults
        self.nodes: dict[int, Node] = {root.inode: root}
        self.lookups: dict[int, int] = {}
        self.handles: dict[int, Handle] = {}
        self.last_handle = 0
        self.interrupted: set[int] = set()
        self.answers: dict[int, Callable[[Request], bytes]] = {
            Opcode.INIT: self.init,
            Opcode.LOOKUP: self.lookup,
            Opcode.FORGET: self.forget,
            Opcode.BATCH_FORGET: self.batch_forget,
            Opcode.GETATTR: self.getattr,
            Opcode.SETATTR: self.setattr,
            Opcode.MKDIR: self.mkdir,
            Opcode.RMDIR: self.rmdir,
            Opcode.OPEN: self.open,
            Opcode.READ: self.read,
            Opcode.WRITE: self.write,
            Opcode.RELEASE: self.release,
            Opcode.OPENDIR: self.opendir,
            Opcode.READDIR: self.readdir,
            Opcode.RELEASEDIR: lambda request: b"",
            Opcode.STATFS: lambda request: wire.STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096, 0),
            Opcode.INTERRUPT: self.interrupt,
            Opcode.POLL: self.poll,
        }

    def serve(self) -> None:
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = Request.parse(os.read(self.device, MESSAGE_BYTES))
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                raise
            if self.may_wait(request):
                Thread(target=self.answer_waiting, args=(request,), daemon=True).start()
            else:
                self.answer(request)

    def may_wait(self, request: Request) -> bool:
        """Whether the request needs a thread of its own."""
        if request.opcode == Opcode.READ:
            return isinstance(self.nodes[request.node], Pipe) or self.faults.delays
        return request.opcode == Opcode.WRITE

    def answer(self, request: Request) -> None:
        """Answer with the lock held, so that nobody takes a name out between look-up and answer."""
        with self.lock:
            message = self.result(request)
            if request.opcode not in wire.NO_REPLY:
                self.send(message)

    def answer_waiting(self, request: Request) -> None:
        """Answer a request that may have taken names out, once the real kernel has dropped them from its cache."""
        with self.lock:
            message = self.result(request)
            names = self.root.take_dropped_names()
            self.interrupted.discard(request.unique)
        self.drop_names(names)
        self.send(message)

    def result(self, request: Request) -> bytes:
        """The whole answer to one request."""
        answer = self.answers.get(request.opcode)
        if answer is None:
            return wire.reply(request.unique, error=errno.ENOSYS)
        try:
            return wire.reply(request.unique, answer(request))
        except OSError as error:
            return wire.reply(request.unique, error=error.errno or errno.EIO)

    def drop_names(self, names: list[tuple[int, str]]) -> None:
        """Make the real kernel forget names. Must not hold the lock: it may wait for look-ups that need us."""
        for folder, name in names:
            body = wire.INVALIDATE_ENTRY_OUT.pack(folder, len(name), 0) + name.encode() + b"\0"
            self.send(wire.notification(wire.NOTIFY_INVALIDATE_ENTRY, body))

    def send(self, message: bytes) -> None:
        """Write one message. ENOENT: who asked is gone, or the name was not cached; ENODEV: unmounted."""
        try:
            os.write(self.device, message)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def init(self, request: Request) -> bytes:
        _, _, readahead, flags = wire.INIT_IN.unpack_from(request.body)
        flags &= wire.CAN_BIG_WRITES | wire.CAN_PARALLEL_DIROPS
        return wire.INIT_OUT.pack(wire.MAJOR, wire.MINOR, readahead, flags, 0, 0, MAX_WRITE_BYTES, 1, 0, 0, 0)

    def lookup(self, request: Request) -> bytes:
        node = self.folder(request).children.get(request.name)
        if node is None:
            raise fail(errno.ENOENT)
        return self.entry(node)

    def entry(self, node: Node) -> bytes:
        """The answer that makes a node known to the real kernel, until it forgets it."""
        self.nodes[node.inode] = node
        self.lookups[node.inode] = self.lookups.get(node.inode, 0) + 1
        return wire.ENTRY_OUT.pack(node.inode, 0, NAME_VALID_SECONDS, 0, 0, 0) + attributes(node)

    def forget(self, request: Request) -> bytes:
        self.forget_one(request.node, *wire.FORGET_IN.unpack_from(request.body))
        return b""

    def batch_forget(self, request: Request) -> bytes:
        for node, count in wire.BATCH_FORGET_ONE.iter_unpack(request.body[wire.BATCH_FORGET_IN.size :]):
            self.forget_one(node, count)
        return b""

    def forget_one(self, inode: int, count: int) -> None:
        self.lookups[inode] = self.lookups.get(inode, 0) - count
        if self.lookups[inode] <= 0 and inode != self.root.inode:
            del self.nodes[inode], self.lookups[inode]

    def folder(self, request: Request) -> Directory:
        """The folder that a request by path is about. ESTALE makes the real kernel look the path up again."""
        node = self.nodes[request.node]
        if node.removed:
            raise fail(errno.ESTALE)
        if not isinstance(node, Directory):
            raise fail(errno.ENOTDIR)
        return node

    def getattr(self, request: Request) -> bytes:
        return wire.ATTR_OUT.pack(0, 0, 0) + attributes(self.nodes[request.node])

    def setattr(self, request: Request) -> bytes:
        """chmod works; the truncation of `echo x > file` is taken and changes nothing, as in sysfs."""
        valid, *_, mode, _, _, _, _ = wire.SETATTR_IN.unpack_from(request.body)
        node = self.nodes[request.node]
        if valid & wire.SETATTR_MODE:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return wire.ATTR_OUT.pack(0, 0, 0) + attributes(node)

    def mkdir(self, request: Request) -> bytes:
        folder, name = self.folder(request), request.body[wire.MKDIR_IN.size :].rstrip(b"\0").decode()
        if name in folder.children:
            raise fail(errno.EEXIST)
        self.faults.strike("mkdir", f"{folder.path}/{name}")
        return self.entry(folder.mkdir(name))

    def rmdir(self, request: Request) -> bytes:
        folder = self.folder(request)
        if request.name not in folder.children:
            raise fail(errno.ENOENT)
        self.faults.strike("rmdir", f"{folder.path}/{request.name}")
        folder.rmdir(request.name)
        self.root.take_dropped_names()  # rmdir(2) itself drops them
        return b""

    def open(self, request: Request) -> bytes:
        flags, _ = wire.OPEN_IN.unpack_from(request.body)
        node = self.nodes[request.node]
        if node.removed:
            raise fail(errno.ESTALE)
        assert isinstance(node, File)
        refuse_by_mode(node, flags)
        self.faults.strike("open", node.path)
        self.last_handle += 1
        self.handles[self.last_handle] = Handle(node)
        node.opens += 1
        how = wire.OPEN_DIRECT_IO | wire.OPEN_NO_FLUSH | wire.OPEN_PARALLEL_DIRECT_WRITES
        return wire.OPEN_OUT.pack(self.last_handle, how, 0)

    def release(self, request: Request) -> bytes:
        number, *_ = wire.RELEASE_IN.unpack_from(request.body)
        self.handles.pop(number).node.opens -= 1
        return b""

    def opened(self, number: int) -> Handle:
        """The open file of a request. Once its file is removed, kernfs answers ENODEV."""
        handle = self.handles[number]
        if handle.node.removed:
            raise fail(errno.ENODEV)
        return handle

    def read(self, request: Request) -> bytes:
        number, offset, size, _, _, flags, _ = wire.READ_IN.unpack_from(request.body)
        handle = self.opened(number)
        self.faults.wait("read", handle.node.path, self.lock)
        self.faults.strike("read", handle.node.path)
        if isinstance(handle.node, Pipe):
            return self.read_pipe(
                handle.node, size, blocking=not flags & os.O_NONBLOCK, unique=request.unique
            )
        if offset == 0:
            handle.content = handle.node.read().encode()
        return handle.content[offset : offset + size]

    def read_pipe(self, pipe: Pipe, size: int, *, blocking: bool, unique: int) -> bytes:
        while (data := pipe.take(size)) is None:
            if not blocking:
                raise fail(errno.EAGAIN)
            if unique in self.interrupted:
                raise fail(errno.EINTR)
            self.lock.wait()
        return data

    def interrupt(self, request: Request) -> bytes:
        """A signal ends the reading of a pipe. Commands to DAMON sleep on, as in the kernel."""
        self.interrupted.add(*wire.FORGET_IN.unpack_from(request.body))
        self.lock.notify_all()
        return b""

    def write(self, request: Request) -> bytes:
        number, _, size, *_ = wire.WRITE_IN.unpack_from(request.body)
        handle = self.opened(number)
        self.faults.wait("write", handle.node.path, self.lock)
        self.faults.strike("write", handle.node.path)
        handle.node.write(request.body[wire.WRITE_IN.size :][:size].decode(errors="replace"))
        return wire.WRITE_OUT.pack(size, 0)

    def poll(self, request: Request) -> bytes:
        number, waiter, _, _ = wire.POLL_IN.unpack_from(request.body)
        node = self.handles[number].node
        if not isinstance(node, Pipe):
            return wire.POLL_OUT.pack(select.POLLIN | select.POLLOUT, 0)
        if node.ready():
            return wire.POLL_OUT.pack(select.POLLIN, 0)
        message = wire.notification(wire.NOTIFY_POLL, wire.POLL_WAKEUP_OUT.pack(waiter))
        node.watchers.append(lambda: self.send(message))
        return wire.POLL_OUT.pack(0, 0)

    def opendir(self, request: Request) -> bytes:
        self.folder(request)
        return wire.OPEN_OUT.pack(0, 0, 0)

    def readdir(self, request: Request) -> bytes:
        _, offset, size, *_ = wire.READ_IN.unpack_from(request.body)
        node = self.nodes[request.node]
        assert isinstance(node, Directory)
        listing = b""
        for position, child in enumerate(list(node.children.values())[offset:], offset + 1):
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
