"""The binary buffers of all CPUs of a trace instance: waiting for them and reading whole sub-buffers."""

import mmap
import os
import select
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from damon_exporter.kernel.errors import explain

PAGES_PER_READ = 16
"""The kernel gives one sub-buffer per segment of a readv(2): this saves system calls."""


@dataclass(frozen=True, slots=True)
class PagesRead:
    """Whole sub-buffers, CPU by CPU, valid until the next read.

    ``unfinished`` are the numbers of the last pages of those CPUs that had more to give.
    """

    view: memoryview
    unfinished: tuple[int, ...]


class CpuBuffers:
    """Open descriptors of ``trace_pipe_raw``, one per CPU, and one epoll over all of them."""

    def __init__(self, paths: Sequence[Path], page_bytes: int, pages_per_cpu: int) -> None:
        """Open them; raises `KernelError`."""
        self._page_bytes = page_bytes
        self._cpus = len(paths)
        self.hold(pages_per_cpu)
        self._files: dict[int, Path] = {}
        self._epoll = select.epoll()
        with ExitStack() as undo:
            undo.callback(self.close)
            for path in paths:
                self._open(path)
            undo.pop_all()

    def hold(self, pages_per_cpu: int) -> None:
        """Be ready to read so many sub-buffers of each CPU at once."""
        # The sub-buffer that the reader has taken out of the ring comes on top.
        self._most_pages = pages_per_cpu + 1
        # Anonymous memory costs only what has been used of it.
        size = self._cpus * self._most_pages * self._page_bytes
        self._view = memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def _open(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._files[fd] = path
            self._epoll.register(fd, select.EPOLLIN)
        except OSError as error:
            raise explain(error, "open", path) from error

    def close(self) -> None:
        """Close all; an instance can only be removed then."""
        self._epoll.close()
        for fd in self._files:
            os.close(fd)
        self._files = {}

    def wait(self, timeout_s: float) -> bool:
        """Wait until a buffer has filled to ``buffer_percent``, at most so long; tell whether one has."""
        return bool(self._epoll.poll(timeout_s))

    def read(self) -> PagesRead:
        """Read every CPU until it is empty, but no more than it can hold, so that a flood does not hold us.

        Every one is tried: epoll reports only those that are filled to ``buffer_percent``. Raises `KernelError`.
        """
        end = 0
        unfinished = []
        for fd in self._files:
            begin, end = end, self._drain(fd, end)
            if end - begin == self._most_pages:
                unfinished.append(end - 1)
        return PagesRead(self._view[: end * self._page_bytes], tuple(unfinished))

    def _drain(self, fd: int, page: int) -> int:
        """Read one CPU's sub-buffers to this page and the following; return the one after the last."""
        stop = page + self._most_pages
        at_once = 1  # most CPUs have nothing to give
        while page < stop:
            room = [self._page(number) for number in range(page, min(page + at_once, stop))]
            try:
                got = os.readv(fd, room)
            except BlockingIOError:
                break
            except OSError as error:
                raise explain(error, "read", self._files[fd]) from error
            if not got:
                break
            whole, rest = divmod(got, self._page_bytes)
            if rest:  # zeros, so that decoding finds where it was torn, and nothing of an earlier pass
                room[whole][rest:] = bytes(self._page_bytes - rest)
            page += whole + bool(rest)
            at_once = PAGES_PER_READ
        return page

    def _page(self, number: int) -> memoryview:
        return self._view[number * self._page_bytes : (number + 1) * self._page_bytes]
