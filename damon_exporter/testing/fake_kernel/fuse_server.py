"""Reads the FUSE requests of the real kernel and sends the answers of `fuse_requests`.

Every request is answered in the one thread that reads them, except those that may wait: they get a thread each, so
that a command to ``state`` in flight blocks nobody else, as in the kernel.
"""

import errno
import os
from threading import Condition, Thread

from damon_exporter.testing.fake_kernel import fuse_wire as wire
from damon_exporter.testing.fake_kernel.faults import Faults
from damon_exporter.testing.fake_kernel.fuse_requests import Requests
from damon_exporter.testing.fake_kernel.tree import Root

MESSAGE_BYTES = 1 << 20
NOT_READ = (errno.EINTR, errno.EAGAIN, errno.ENOENT)  # nothing arrived, or what arrived was taken back
NOT_SENT = (errno.ENOENT, errno.ENODEV)  # who asked is gone, the name was not cached, or it is all unmounted


class FuseServer:
    """Serves ``root`` to whoever uses the mount behind the descriptor ``device``; ``lock`` guards the tree."""

    def __init__(self, device: int, root: Root, lock: Condition, faults: Faults) -> None:
        self._device = device
        self._root = root
        self._lock = lock
        self._requests = Requests(root, lock, faults, self._send)

    def serve(self) -> None:
        """Answer until the file system is unmounted."""
        Thread(target=self._drop_names_for_ever, daemon=True).start()
        while True:
            try:
                request = wire.Request.parse(os.read(self._device, MESSAGE_BYTES))
            except OSError as error:
                if error.errno in NOT_READ:
                    continue
                if error.errno == errno.ENODEV:
                    return
                raise
            if self._requests.may_wait(request):
                Thread(target=self._answer_waiting, args=(request,), daemon=True).start()
            else:
                self._answer(request)

    def _answer(self, request: wire.Request) -> None:
        """Answer with the lock held, so that nobody takes a name out between look-up and answer."""
        with self._lock:
            message = self._requests.answer(request)
            if request.opcode == wire.Opcode.WRITE and self._root.dropped_names:
                names = self._take_dropped_names()
                Thread(target=self._drop_and_send, args=(names, message), daemon=True).start()
            elif request.opcode not in wire.NO_REPLY:
                self._send(message)

    def _answer_waiting(self, request: wire.Request) -> None:
        """Answer in a thread of its own."""
        with self._lock:
            message = self._requests.answer(request)
            names = self._take_dropped_names()
        self._drop_and_send(names, message)

    def _take_dropped_names(self) -> list[tuple[int, str]]:
        """Take them over, with the lock held, and wake who waits until there are none."""
        names = self._root.take_dropped_names()
        self._lock.notify_all()
        return names

    def _drop_and_send(self, names: list[tuple[int, str]], message: bytes) -> None:
        """Answer a write once the real kernel has forgotten the names that it took out."""
        self._drop_names(names)
        self._send(message)

    def _drop_names_for_ever(self) -> None:
        """Drop the names that no request has taken out, such as that of a process which has ended."""
        while True:
            with self._lock:
                while not self._root.dropped_names:
                    self._lock.wait()
                names = self._root.dropped_names.copy()
            self._drop_names(names)
            with self._lock:
                self._root.dropped_names = [name for name in self._root.dropped_names if name not in names]
                self._lock.notify_all()

    def _drop_names(self, names: list[tuple[int, str]]) -> None:
        """Make the real kernel forget names. Must not hold the lock: it may wait for look-ups that need us."""
        for folder, name in names:
            self._send(wire.invalidated_name(folder, name))

    def _send(self, message: bytes) -> None:
        try:
            os.write(self._device, message)
        except OSError as error:
            if error.errno not in NOT_SENT:
                raise
