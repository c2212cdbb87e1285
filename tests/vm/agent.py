"""The guest's side of the channel: takes requests as JSON lines from a virtio port and answers them.

Runs in the guest, so only the standard library may be imported. Each request is served by a thread of its
own and answered when it is done, in any order. When the host closes the channel the agent ends, and the guest
with it.
"""

import base64
import contextlib
import functools
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Request = dict[str, Any]
Reply = dict[str, Any]

JOBS = Path("/run/jobs")
GREETING_SECONDS = 10.0
WITHOUT_CAPABILITIES = [sys.executable, "-IS", "/without_capabilities.py"]

EXPORTER = ["python", "-m", "damon_exporter"]


class Forked:
    """An exporter that `Preloaded` has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode = 0
        self.has_ended = threading.Event()

    def wait(self, timeout: float | None = None) -> int:
        """As that of `subprocess.Popen`."""
        if not self.has_ended.wait(timeout):
            raise subprocess.TimeoutExpired(EXPORTER, timeout or 0.0)
        return self.returncode


class Preloaded:
    """The interpreter of preloaded.py, which forks exporters."""

    def __init__(self) -> None:
        self._orders, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            number = its.fileno()
            subprocess.Popen([sys.executable, "/preloaded.py", str(number)], pass_fds=[number])
        self._one_at_a_time = threading.Lock()
        self._started: queue.SimpleQueue[Forked | None] = queue.SimpleQueue()
        self._living: dict[int, Forked] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, request: Request, output: list[int]) -> Forked:
        """Fork an exporter; raises OSError if there is nobody to do so."""
        order = {"arguments": request["command"][len(EXPORTER) :]} | {
            key: request[key] for key in ("env", "uid0_nocaps")
        }
        with self._one_at_a_time:
            socket.send_fds(self._orders, [json.dumps(order).encode()], output)
            forked = self._started.get()
        if forked is None:
            raise OSError("the interpreter that forks exporters has ended: see the console")
        return forked

    def _listen(self) -> None:
        while message := self._orders.recv(1 << 16):
            told = json.loads(message)
            if "started" in told:
                forked = self._living[told["started"]] = Forked(told["started"])
                self._started.put(forked)
            else:
                forked = self._living.pop(told["ended"])
                forked.returncode = told["returncode"]
                forked.has_ended.set()
        self._started.put(None)
        for forked in self._living.values():
            forked.has_ended.set()


Job = Forked | subprocess.Popen[bytes]

jobs: dict[int, Job] = {}
preloaded = functools.cache(Preloaded)
preloading = threading.Lock()


def start(request: Request) -> Job:
    """Start a command in a session of its own; its output goes to files named after it."""
    folder = Path(tempfile.mkdtemp(dir=JOBS))
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        job: Job
        if request["command"][: len(EXPORTER)] == EXPORTER:
            with preloading:
                interpreter = preloaded()
            job = interpreter.start(request, [stdout.fileno(), stderr.fileno()])
        else:
            job = subprocess.Popen(
                WITHOUT_CAPABILITIES * request["uid0_nocaps"] + request["command"],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=os.environ | request["env"],
                start_new_session=True,
            )
    folder.rename(JOBS / str(job.pid))
    jobs[job.pid] = job
    return job


def ended(job: Job, timeout: float | None) -> int | None:
    """The exit code, negative for a signal; None if it still runs after the time-out in seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return job.wait(timeout)
    return None


def run(request: Request) -> Reply:
    """Run a command to its end; past the time-out it and all of its session that has its group are killed."""
    job = start(request)
    returncode = ended(job, request["timeout"])
    if returncode is None:
        signal_group({"pid": job.pid, "signal": signal.SIGKILL})
        job.wait()
    return output({"pid": job.pid}) | {"returncode": returncode}


def spawn(request: Request) -> Reply:
    """Start a command and leave it running."""
    return {"pid": start(request).pid}


def wait(request: Request) -> Reply:
    """Wait for the end of a spawned command."""
    return {"returncode": ended(jobs[request["pid"]], request["timeout"])}


def output(request: Request) -> Reply:
    """What a command has written so far."""
    folder = JOBS / str(request["pid"])
    return {name: encoded((folder / name).read_bytes()) for name in ("stdout", "stderr")}


def signal_process(request: Request) -> Reply:
    """Send a signal to one process."""
    os.kill(request["pid"], request["signal"])
    return {}


def signal_group(request: Request) -> Reply:
    """Send a signal to a spawned command and its children; no error if they have all ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(request["pid"], request["signal"])
    return {}


def get(request: Request) -> Reply:
    """The content of a file, also of one in sysfs that tells no size."""
    return {"content": encoded(Path(request["path"]).read_bytes())}


def get_all(request: Request) -> Reply:
    """The contents of all files below a folder that can be read, by path, but of those whose name ends so."""
    contents = {}
    for folder, _, names in os.walk(request["path"]):
        for path in (Path(folder, name) for name in names if not name.endswith(request["but"])):
            with contextlib.suppress(OSError):
                contents[str(path)] = encoded(path.read_bytes())
    return {"contents": contents}


def fetch(request: Request) -> Reply:
    """Ask a server of the guest; starting a program for it would cost the emulated processor ten times as much."""
    connection = http.client.HTTPConnection("127.0.0.1", request["port"], timeout=10)
    try:
        connection.request("GET", request["path"])
        response = connection.getresponse()
        return {"status": response.status, "body": encoded(response.read())}
    except ConnectionRefusedError:
        return {"status": None, "body": ""}
    finally:
        connection.close()


def put(request: Request) -> Reply:
    """Write a file, with the folders that it needs."""
    path = Path(request["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(base64.b64decode(request["content"]))
    path.chmod(request["mode"])
    return {}


def clock(request: Request) -> Reply:
    """Tell the guest's time."""
    return {"seconds": time.clock_gettime(time.CLOCK_BOOTTIME)}


def sleep(request: Request) -> Reply:
    """Let so much of the guest's time pass."""
    time.sleep(request["seconds"])
    return {}


OPERATIONS: dict[str, Callable[[Request], Reply]] = {
    function.__name__: function
    for function in (clock, sleep, run, spawn, wait, output, signal_process, signal_group, get, get_all, fetch, put)
}


def encoded(content: bytes) -> str:
    """Bytes as JSON can hold them."""
    return base64.b64encode(content).decode()


class Channel:
    """JSON lines over a virtio port."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR)
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Answer requests until the host goes."""
        received = b""
        believe_an_end_from = time.monotonic() + GREETING_SECONDS
        while True:
            chunk = os.read(self._descriptor, 1 << 16)
            if not chunk and time.monotonic() > believe_an_end_from:
                return
            if not chunk:  # the port says this too before it has learnt that the host is there
                time.sleep(0.02)
                continue
            believe_an_end_from = 0.0
            *lines, received = (received + chunk).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: Request) -> None:
        try:
            reply = OPERATIONS[request["operation"]](request)
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        line = json.dumps(reply | {"id": request["id"]}).encode() + b"\n"
        with self._lock:
            while line:
                line = line[os.write(self._descriptor, line) :]


if __name__ == "__main__":
    JOBS.mkdir()
    Channel(sys.argv[1]).serve()
