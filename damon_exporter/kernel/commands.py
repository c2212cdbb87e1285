"""Commands to kdamonds: one at a time, by a helper process, with a deadline."""

import errno
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO

from damon_exporter.kernel import command_process
from damon_exporter.kernel.errors import Ending, Stuck, explain
from damon_exporter.kernel.files import BUSY_DELAYS, Check, unchecked

DEADLINE_SECONDS = 10.0
STUCK_GRACE_SECONDS = 1.0
"""How long to wait on exit for a helper whose command the kernel has not answered."""


class CommandWriter:
    """Writes values whose write(2) may block until a kdamond answers.

    The helper inherits ``lock_fds``: while a command of ours is under way, the lock that keeps a second exporter
    out is held, even if we have been killed. Once ``ending`` is set, only what puts the kernel back is begun.
    """

    def __init__(
        self,
        lock_fds: Sequence[int] = (),
        deadline: float = DEADLINE_SECONDS,
        ending: threading.Event | None = None,
    ) -> None:
        self._ending = ending or threading.Event()
        self._lock_fds = tuple(lock_fds)
        self._deadline = deadline
        self._helper: _Helper | None = None
        self._queue = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commands")
        self._submitting = threading.Lock()
        self._submitted: list[Future[None]] = []
        self._answering = threading.Lock()
        self._unanswered = False

    @property
    def stuck(self) -> bool:
        """Has a command passed its deadline without an answer so far?"""
        with self._answering:
            if self._unanswered and self._helper and self._helper.answer(0.0) is not None:
                self._unanswered = False
            return self._unanswered

    def require_going(self) -> None:
        """Raise `Ending` if nothing more shall be begun."""
        if self._ending.is_set():
            raise Ending("the exporter is ending: nothing more is begun")

    def submit(self, path: Path, value: str, check: Check = unchecked, longer: float = 0.0) -> "Future[None]":
        """Queue a write; the future raises `KernelError`, `Stuck` after ``longer`` seconds more than usual, `Ending`.

        ``check`` is called right before every try: EBUSY means that somebody else gives commands, too.
        """

        def still_wanted() -> None:
            self.require_going()
            check()

        return self._submit(path, value, still_wanted, longer)

    def _submit(self, path: Path, value: str, check: Check, longer: float = 0.0) -> "Future[None]":
        with self._submitting:
            command = self._queue.submit(self._write, path, value, check, self._deadline + longer)
            self._submitted = [*(earlier for earlier in self._submitted if not earlier.done()), command]
        return command

    def write(self, path: Path, value: str, check: Check = unchecked) -> None:
        """Write and wait for the answer; EBUSY is tried again for a while, then raised as `Busy`."""
        self.submit(path, value, check).result()

    def put_back(self, path: Path, value: str, check: Check = unchecked) -> None:
        """`write` what leaves the kernel as it was: that is done when the exporter ends, too."""
        self._submit(path, value, check).result()

    def settle(self) -> None:
        """Drop the commands that wait, and wait for the answer to the one under way, until its deadline."""
        for command in self._submitted:
            command.cancel()
        wait(self._submitted)

    def close(self) -> None:
        """End the helper; one that the kernel does not let go ends when the kernel does."""
        self._queue.shutdown(wait=True, cancel_futures=True)
        if self._helper:
            self._helper.end(STUCK_GRACE_SECONDS if self.stuck else self._deadline)

    def _write(self, path: Path, value: str, check: Check, deadline: float) -> None:
        if self.stuck:
            raise Stuck(f"cannot write '{value}' to {path}: an earlier command has not been answered yet")
        number = errno.EBUSY
        for delay in (0.0, *BUSY_DELAYS):
            time.sleep(delay)
            check()
            number = self._ask(path, value, deadline)
            if number != errno.EBUSY:
                break
        if number:
            raise explain(OSError(number, os.strerror(number)), f"write '{value}' to", path)

    def _ask(self, path: Path, value: str, deadline: float) -> int:
        if self._helper and self._helper.killed:
            self._helper.end(self._deadline)
            self._helper = None
        if self._helper is None:
            self._helper = _Helper(self._lock_fds)
        self._helper.ask(path, value)
        number = self._helper.answer(deadline)
        if number is None:
            with self._answering:
                self._unanswered = True
            raise Stuck(
                f"'{value}' to {path} has not been answered for {deadline:g} s: the kdamond does not respond. "
                "No further command is sent until it does; observing goes on"
            )
        return number


class _Helper:
    """The process that writes; see `command_process`.

    It is started by its file and with ``-P``: with ``-m``, a module that lies in the working directory would be run.
    """

    def __init__(self, lock_fds: Sequence[int]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", command_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            pass_fds=lock_fds,
            start_new_session=True,
        )

    @property
    def killed(self) -> bool:
        """Has somebody killed it?"""
        return self._process.poll() is not None

    def ask(self, path: Path, value: str) -> None:
        """Send a command; one that has been killed answers with the end of its output."""
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).write(json.dumps({"path": str(path), "value": value}).encode() + b"\n")

    def answer(self, seconds: float) -> int | None:
        """Return the errno of the command under way, EIO if the helper was killed, None if ``seconds`` pass before."""
        answers = _pipe(self._process.stdout)
        if not select.select([answers], [], [], seconds)[0]:
            return None
        line = answers.readline()
        return int(json.loads(line)["errno"]) if line else errno.EIO

    def end(self, seconds: float) -> None:
        """Close its input, which ends it, and wait for its end, but no longer than so."""
        _pipe(self._process.stdin).close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        _pipe(self._process.stdout).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the helper process was started without pipes")
    return pipe
