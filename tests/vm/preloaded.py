"""Forks exporters from an interpreter that has imported everything they need.

Runs in the guest, whose emulated processor imports for ten seconds. Whoever asks sends an order as JSON with two
descriptors, for standard output and error, over the socket given by its number. He is told the pid, and of the end.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

from without_capabilities import drop_capabilities

MODULE = "damon_exporter"
IMPORTED_LATE = ("cli", "doctor", "recorder", "serving")
LARGEST_ORDER = 1 << 16

Order = dict[str, Any]


def main() -> None:
    """Serve orders until nobody is there to give them; in a child, run the exporter."""
    for name in IMPORTED_LATE:
        importlib.import_module(f"{MODULE}.{name}")
    orders = socket.socket(fileno=int(sys.argv[1]))
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([orders, woken], [], [])
        if woken in ready:
            os.read(woken, LARGEST_ORDER)
            for ended in _ended():
                orders.send(json.dumps(ended).encode())
        if orders not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(orders, LARGEST_ORDER, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (orders.detach(), woken, wake):
                os.close(descriptor)
            become(json.loads(message), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        orders.send(json.dumps({"started": pid}).encode())


def _ended() -> Iterator[dict[str, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield {"ended": pid, "returncode": os.waitstatus_to_exitcode(status)}


def become(order: Order, descriptors: list[int]) -> None:
    """Run the exporter in a session of its own, with these arguments and this environment."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, its in zip((nothing, *descriptors), range(3), strict=True):
        os.dup2(ours, its)
        os.close(ours)
    os.environ.update(order["env"])
    if order["uid0_nocaps"]:
        drop_capabilities()
    sys.argv = [MODULE, *order["arguments"]]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
