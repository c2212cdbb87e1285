"""Files and folders of the fake kernel as objects in memory; `fuse_server` shows them to other processes."""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

inode_numbers = itertools.count(2)


def fail(error: int) -> OSError:
    """The exception that reaches the user as this errno."""
    return OSError(error, os.strerror(error))


class Node:
    """A file or folder. It is `removed` once nothing below the root holds it; its number is never used again."""

    def __init__(self, mode: int) -> None:
        self.inode = next(inode_numbers)
        self.mode = mode
        self.name = ""
        self.parent: Directory | None = None
        self.removed = False

    @property
    def path(self) -> str:
        """The path below the root of the fake, as ``sys/kernel/mm``; empty for the root."""
        if self.parent is None:
            return self.name
        return f"{self.parent.path}/{self.name}".removeprefix("/")


AnyNode = TypeVar("AnyNode", bound=Node)


def expect(node: Node, kind: type[AnyNode]) -> AnyNode:
    """The node, which the caller knows to be of that kind."""
    if not isinstance(node, kind):
        raise TypeError(f"{node.path} is a {type(node).__name__}, not a {kind.__name__}")
    return node


class Directory(Node):
    """A folder. Users may make and remove folders in it only where the kernel gives a way to (tracefs instances)."""

    def __init__(self, children: Mapping[str, Node] | None = None, mode: int = 0o755) -> None:
        super().__init__(stat.S_IFDIR | mode)
        self.children: dict[str, Node] = {}
        self.update(children or {})

    def add(self, name: str, child: Node) -> None:
        """Put a node under a name that is free."""
        child.name, child.parent = name, self
        self.children[name] = child

    def update(self, children: Mapping[str, Node]) -> None:
        """Put several nodes under names that are free."""
        for name, child in children.items():
            self.add(name, child)

    def remove(self, name: str) -> None:
        """Take a node and all below it out of the tree."""
        child = self.children.pop(name)
        for node in walk(child):
            node.removed = True
        root = self
        while root.parent is not None:
            root = root.parent
        if isinstance(root, Root):
            root.dropped_names.append((self.inode, name))

    def get(self, path: str, kind: type[AnyNode]) -> AnyNode:
        """The node at a path below this folder. KeyError if there is none, TypeError if it is of another kind."""
        node: Node = self
        for name in path.split("/"):
            if not isinstance(node, Directory):
                raise KeyError(path)
            node = node.children[name]
        return expect(node, kind)

    def make(self, path: str) -> "Directory":
        """The folder at a path below this one, made with its parents where it is missing."""
        node = self
        for name in path.split("/"):
            if name not in node.children:
                node.add(name, Directory())
            node = node.get(name, Directory)
        return node

    def mkdir(self, name: str) -> "Directory":
        """mkdir(2) by a user."""
        raise fail(errno.EPERM)

    def rmdir(self, name: str) -> None:
        """rmdir(2) by a user."""
        raise fail(errno.EPERM)


class Root(Directory):
    """What is mounted. ``dropped_names`` are (folder's inode, name) that users' name caches have to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.inode = 1  # FUSE_ROOT_ID
        self.dropped_names: list[tuple[int, str]] = []

    def take_dropped_names(self) -> list[tuple[int, str]]:
        """Hand over the names that were dropped since the last call."""
        names, self.dropped_names = self.dropped_names, []
        return names


class File(Node):
    """A file whose content is made when it is read, and whose writes are calls.

    ``read`` and ``write`` run with the kernel's lock held and raise OSError with the errno that the user gets.
    """

    size = 4096  # what sysfs shows for every attribute
    may_wait = False
    """Whether a read or write may take long. Nobody else must wait meanwhile (see `fuse_requests`)."""

    def __init__(
        self,
        read: Callable[[], str] | None = None,
        write: Callable[[str], None] | None = None,
        mode: int | None = None,
    ) -> None:
        if mode is None:
            mode = (0o400 if read else 0) | (0o200 if write else 0)
        super().__init__(stat.S_IFREG | mode)
        self._read = read
        self._write = write
        self.opens = 0

    def read(self) -> str:
        """The whole content."""
        if self._read is None:
            raise fail(errno.EIO)
        return self._read()

    def write(self, text: str) -> None:
        """Take what one write(2) brought."""
        if self._write is None:
            raise fail(errno.EIO)
        self._write(text)


class Entries(File):
    """A file of entries of one size that is read from anywhere, as of one for each page frame; it says no size."""

    size = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset`` on, fewer at the end of the file."""
        raise NotImplementedError


class Link(Node):
    """A symbolic link to ``target``, which is as readlink(2) shows it."""

    def __init__(self, target: str) -> None:
        super().__init__(stat.S_IFLNK | 0o777)
        self.target = target


class Pipe(File):
    """A file that is consumed by reading and can be waited for: ``trace_pipe_raw``.

    ``watchers`` are called once, when there is something to read.
    """

    size = 0
    may_wait = True

    def __init__(self, mode: int) -> None:
        super().__init__(mode=mode)
        self.watchers: list[Callable[[], None]] = []

    def take(self, size: int) -> bytes | None:
        """At most ``size`` bytes, or None while there are none."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether poll(2) reports it as readable."""
        raise NotImplementedError

    def wake_watchers(self) -> None:
        """Tell those who wait in poll(2)."""
        watchers, self.watchers = self.watchers, []
        for wake in watchers:
            wake()


def text_file(text: str, mode: int = 0o444) -> File:
    """A file that always reads the same."""
    return File(read=lambda: text, mode=mode)


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    if isinstance(node, Directory):
        for child in node.children.values():
            yield from walk(child)
