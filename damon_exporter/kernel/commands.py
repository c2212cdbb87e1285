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
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from damon_exporter.kernel.errors import Stuck, explain
from damon_exporter.kernel.files import BUSY_DELAYS

DEADLINE_SECONDS = 10.0


class CommandWriter:
    """Writes values whose write(2) may block until a kdamond answers.

    The helper inherits ``lock_fds``: while a command of ours is under way, the lock that keeps a second exporter
    out is held, even if we have been killed.
    """

    def __init__(self, lock_fds: Sequence[int] = ()) -> None:
        self._lock_fds = tuple(lock_fds)
        self._process: subprocess.Popen[str] | None = None
        self._queue = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commands")
        self._stuck = threading.Event()

    @property
    def stuck(self) -> bool:
        """Has a command passed its deadline without an answer so far?"""
        return self._stuck.is_set() and not self._late_answer()

    def submit(self, path: Path, value: object, deadline: float = DEADLINE_SECONDS) -> "Future[None]":
        """Queue a write; the future raises `KernelError`, `Stuck` past ``deadline`` seconds of blocking."""
        return self._queue.submit(self._write, path, str(value), deadline)

    def write(self, path: Path, value: object, deadline: float = DEADLINE_SECONDS) -> None:
        """Write and wait for the answer; EBUSY is tried again for a while, then raised as `Busy`."""
        self.submit(path, value, deadline).result()

    def close(self) -> None:
        """End the helper; one that the kernel does not let go ends when the kernel does."""
        self._queue.shutdown(wait=not self._stuck.is_set(), cancel_futures=True)
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _write(self, path: Path, value: str, deadline: float) -> None:
        if self.stuck:
            raise Stuck(f"cannot write '{value}' to {path}: an earlier command has not been answered yet")
        number = errno.EBUSY
        for delay in (0.0, *BUSY_DELAYS):
            time.sleep(delay)
            number = self._ask(path, value, deadline)
            if number != errno.EBUSY:
                break
        if number:
            raise explain(OSError(number, os.strerror(number)), f"write '{value}' to", path)

    def _ask(self, path: Path, value: str, deadline: float) -> int:
        requests, answers = self._pipes()
        requests.write(json.dumps({"path": str(path), "value": value}) + "\n")
        requests.flush()
        if not select.select([answers], [], [], deadline)[0]:
            self._stuck.set()
            raise Stuck(
                f"'{value}' to {path} has not been answered for {deadline:g} s: the kdamond does not respond. "
                "No further command is sent until it does; observing goes on"
            )
        return _errno_of(answers.readline())

    def _late_answer(self) -> bool:
        """Take in the answer of a command that passed its deadline, if it has come."""
        process = self._process
        if process is None or process.stdout is None or not select.select([process.stdout], [], [], 0)[0]:
            return False
        process.stdout.readline()
        self._stuck.clear()
        return True

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        """Return the helper's input and output, starting it if it does not run."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "damon_exporter.kernel.command_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=self._lock_fds,
                start_new_session=True,
            )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the helper process was started without pipes")
        return process.stdin, process.stdout


def _errno_of(answer: str) -> int:
    """Return the errno that the helper answered; EIO if it was killed instead."""
    return int(json.loads(answer)["errno"]) if answer else errno.EIO
