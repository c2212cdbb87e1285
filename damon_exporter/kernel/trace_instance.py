"""A private trace instance below ``tracefs/instances``: made, locked, set up and removed.

An instance has a buffer, clock and set of enabled events of its own, so nobody else's tracing is touched. An
exclusive flock on its folder says that an exporter uses it; the kernel drops the lock with the process, so an
instance without a lock is a leftover of a crash.
"""

import errno
import fcntl
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from damon_exporter.kernel.errors import Busy, KernelError, Rejected, Unsupported, explain
from damon_exporter.kernel.files import read_value, write_value
from damon_exporter.kernel.paths import KernelPaths

AGGREGATED = "damon_aggregated"
INTERVALS_TUNE = "damon_monitor_intervals_tune"
SCHEME_STATS = "damos_stat_after_apply_interval"
EFFECTIVE_QUOTA = "damos_esz"

CLOCK = "mono"
"""CLOCK_MONOTONIC: comparable between CPUs and with our own clock; the default clock is neither."""
BUFFER_PERCENT = 25
"""How full a CPU's buffer is when a waiting reader is woken; before, the reader comes when it likes."""
RMDIR_PATIENCE = 1.0
"""How long (s) to wait for somebody who has just now a file of the instance open."""
RMDIR_PAUSE = 0.02


class TraceInstance:
    """One instance folder. ``mkdir`` and ``rmdir`` make and remove it with all its files, as tracefs does."""

    def __init__(
        self,
        paths: KernelPaths,
        name: str,
        mkdir: Callable[[Path], None] = os.mkdir,
        rmdir: Callable[[Path], None] = os.rmdir,
    ) -> None:
        self.path = paths.tracefs / "instances" / name
        self._tracefs = paths.tracefs
        self._locks = paths.procfs / "locks"
        self._mkdir = mkdir
        self._rmdir = rmdir
        self._lock: int | None = None

    def claim(self) -> None:
        """Make the folder, or take over a leftover, and lock it; raises `KernelError`."""
        self._check_tracefs()
        while self._lock is None:
            try:
                self._mkdir(self.path)
            except FileExistsError:
                pass
            except OSError as error:
                raise explain(error, "make the trace instance", self.path) from error
            self._lock = self._locked_folder()

    def _check_tracefs(self) -> None:
        event = self._tracefs / "events/damon" / AGGREGATED
        for folder, cause in (
            (self._tracefs / "instances", "no tracefs is mounted there; mount it or set --path.tracefs"),
            (event, "this kernel has no DAMON tracepoints (it needs CONFIG_DAMON and CONFIG_TRACEPOINTS)"),
        ):
            try:
                folder.stat()
            except FileNotFoundError as error:
                raise Unsupported(f"{folder} is missing: {cause}") from error
            except OSError as error:
                raise explain(error, "look into", folder) from error

    def _locked_folder(self) -> int | None:
        """Lock the folder; None if it went away meanwhile, because its user removed it just now."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise explain(error, "open", self.path) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), self.path.stat()):
                return fd
        except BlockingIOError as error:
            holder = self._holder(fd)
            os.close(fd)
            raise Busy(f"{self.path} is in use by {holder}: only one exporter can run on a host; stop one") from error
        except FileNotFoundError:
            pass
        os.close(fd)
        return None

    def _holder(self, fd: int) -> str:
        """Who holds the lock, as far as /proc/locks tells: it names no process of another pid namespace."""
        status = os.fstat(fd)
        device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        try:
            found = re.search(rf"FLOCK .* ([1-9]\d*) {device} ", self._locks.read_text())
        except OSError:
            found = None
        return f"process {found[1]}" if found else "another process"

    def prepare(self, buffer_kb: int) -> None:
        """Stop and empty it, and give it its clock and size (KiB per CPU), before anything is enabled.

        Raises `Rejected` if the kernel does not keep a value.
        """
        self._silence()
        self._set("trace_clock", CLOCK)  # this empties the buffers, too (Documentation/trace/ftrace.rst)
        self.resize(buffer_kb)
        if (self.path / "buffer_percent").exists():
            self._set("buffer_percent", str(BUFFER_PERCENT))
        self._set("tracing_on", "1")

    def resize(self, buffer_kb: int) -> None:
        """Give each CPU's buffer this size (KiB); larger ones keep what they hold (ring_buffer_resize)."""
        self._set("buffer_size_kb", str(buffer_kb))

    def _silence(self) -> None:
        self._set("tracing_on", "0")
        for event in sorted((self.path / "events/damon").glob("*/enable")):
            self._set(str(event.relative_to(self.path)), "0")

    def enable(self, event: str) -> None:
        """Let events of one kind into the buffer."""
        self._set(f"events/damon/{event}/enable", "1")

    def has(self, event: str) -> bool:
        """Whether this kernel has the tracepoint."""
        return (self.path / "events/damon" / event / "enable").exists()

    def read(self, file: str) -> str:
        """Read one of the instance's files whole."""
        return read_value(self.path / file)

    def buffers(self) -> list[Path]:
        """The binary buffers, one per CPU, in the order of the CPUs."""
        folders = (self.path / "per_cpu").glob("cpu*")
        return [folder / "trace_pipe_raw" for folder in sorted(folders, key=lambda folder: int(folder.name[3:]))]

    def _set(self, file: str, value: str) -> None:
        write_value(self.path / file, value)
        kept = self.read(file)
        chosen = re.search(r"\[(\S+)\]", kept)  # of a list of choices
        if (chosen[1] if chosen else kept.rstrip("*")) != value:
            raise Rejected(f"{self.path / file} was set to {value} and reads {kept}: is somebody else writing to it?")

    def remove(self) -> None:
        """Disable the events, remove the folder, let go of the lock; does nothing if there is none of ours.

        Raises `KernelError` if the folder cannot be removed; the next start takes it over.
        """
        if self._lock is None:
            return
        with suppress(KernelError):  # it is removed in any case
            self._silence()
        try:
            self._remove_folder()
        finally:
            os.close(self._lock)
            self._lock = None

    def _remove_folder(self) -> None:
        deadline = time.monotonic() + RMDIR_PATIENCE
        while self.path.exists():
            try:
                self._rmdir(self.path)
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise explain(error, "remove the trace instance", self.path) from error
                time.sleep(RMDIR_PAUSE)
