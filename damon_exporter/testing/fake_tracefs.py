"""A folder in the shape of tracefs, so that trace instances can be tried without a kernel and without root.

Its files keep what is written to them; the binary buffers are FIFOs, so that waiting with epoll works too::

    fake = FakeTracefs(folder, cpus=2)
    with TraceRing(fake.paths, max_events_per_second=10_000, mkdir=fake.mkdir, rmdir=fake.rmdir) as ring:
        fake.give(cpu=0, pages=maker.pages())
        ring.read()
"""

import errno
import fcntl
import os
import shutil
from pathlib import Path

from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.testing.trace_texts import TRACE_FILES

WRITABLE_FILES = ("trace_clock", "buffer_size_kb", "buffer_percent", "tracing_on")
LARGEST_FIFO = 1 << 20
"""What a process without privileges may ask for (fs.pipe-max-size)."""


class FakeTracefs:
    """A plain folder with ``instances/`` and the texts of a kernel series (a key of `TRACE_FILES`).

    ``busy`` is how many more times `rmdir` fails with EBUSY, as it does while somebody has a file open.
    """

    def __init__(self, root: Path, *, cpus: int = 2, kernel: str = "7.3") -> None:
        self.paths = KernelPaths(sysfs=root / "sys", procfs=root / "proc", tracefs=root / "tracing")
        self.busy = 0
        self._cpus = cpus
        self._texts = TRACE_FILES[kernel]
        self._buffers: list[int] = []
        (self.paths.tracefs / "instances").mkdir(parents=True)
        self._write_texts(self.paths.tracefs)

    def instance(self, name: str = "damon_exporter") -> Path:
        """Where an instance of this name is, or would be."""
        return self.paths.tracefs / "instances" / name

    def mkdir(self, path: Path) -> None:
        """Make an instance with all its files, as mkdir(2) on tracefs does."""
        path.mkdir()
        self._write_texts(path)
        for file in WRITABLE_FILES:
            (path / file).touch()
        for cpu in range(self._cpus):
            fifo = path / f"per_cpu/cpu{cpu}/trace_pipe_raw"
            fifo.parent.mkdir(parents=True)
            os.mkfifo(fifo)
            fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, LARGEST_FIFO // max(self._cpus // 16, 1))
            self._buffers.append(fd)

    def rmdir(self, path: Path) -> None:
        """Remove an instance with all its files, as rmdir(2) on tracefs does."""
        if self.busy:
            self.busy -= 1
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        shutil.rmtree(path)
        self.close()

    def give(self, cpu: int, pages: bytes) -> None:
        """Put pages into a CPU's buffer of the instance made last; raises BlockingIOError if it is full."""
        if os.write(self._buffers[cpu], pages) != len(pages):
            raise BlockingIOError(f"the buffer of CPU {cpu} is full")

    def close(self) -> None:
        """Let go of the FIFOs; what is in them is lost if nobody else has them open."""
        for fd in self._buffers:
            os.close(fd)
        self._buffers = []

    def _write_texts(self, folder: Path) -> None:
        for file, text in self._texts.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if path.name == "format":
                path.with_name("enable").touch()
