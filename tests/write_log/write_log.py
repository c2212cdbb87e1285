"""Notes every write of the exporter to a kernel below some folder, whichever of its processes does it.

A line is the path below the folder, a tab, and what the files of that path's slot that may hold a token read at that
moment. The note is made right before the file is opened, and who has made ``KILL_AFTER`` notes is
killed instead of making the next: the exporter, and its helper if that is about to write.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

LOG, ROOT, KILL_AFTER = "WRITE_LOG", "WRITE_LOG_ROOT", "WRITE_LOG_KILL_AFTER"
WRITING = os.O_WRONLY | os.O_RDWR
KDAMONDS = "sys/kernel/mm/damon/admin/kdamonds/"
TOKEN_FILES = ("schemes/0/quotas/reset_interval_ms", "monitoring_attrs/intervals/update_us")
COMMAND_PROCESS = "command_process.py"


def install() -> None:
    """Note for the rest of this process's life what the environment asks for at the time."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "os.mkdir", "os.rmdir") or LOG not in os.environ:
        return
    if event == "open" and not arguments[2] & WRITING:
        return
    writer = sys._getframe(1).f_code.co_filename
    if "/damon_exporter/" not in writer or "/testing/" in writer or not isinstance(arguments[0], str | os.PathLike):
        return
    root, path = os.environ[ROOT] + "/", os.fspath(arguments[0])
    if path.startswith(root):
        _note(path.removeprefix(root), Path(os.environ[LOG]), by_helper=writer.endswith(COMMAND_PROCESS))


def _note(path: str, log: Path, by_helper: bool) -> None:
    limit = os.environ.get(KILL_AFTER)
    if limit is not None and len(log.read_bytes().splitlines()) >= int(limit):
        if by_helper:
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    with log.open("a") as file:
        file.write(f"{path}\t{_token(path)}\n")


def _token(path: str) -> str:
    slot = path.removeprefix(KDAMONDS).partition("/")[0]
    if not path.startswith(KDAMONDS) or not slot.isdigit():
        return ""
    context = Path(os.environ[ROOT], KDAMONDS, slot, "contexts/0")
    return " ".join(file.read_text().strip() for name in TOKEN_FILES if (file := context / name).exists())
