"""Starts and stops an exporter without its web server, again and again, each time in a process of its own.

``start_and_stop.py CONFIG SYSFS PROCFS TRACEFS`` reads a number a line: after how many writes the exporter is to be
killed. It answers with how the process ended, as `subprocess` counts: 0, or the negative signal.
"""

import os
import sys
import time
from pathlib import Path

import write_log

from damon_exporter.config import load
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.observation import Observation
from damon_exporter.published import Published
from damon_exporter.state import NodeState


def live(config: Path, paths: KernelPaths) -> None:
    """Start, wait until a monitor of our own runs, and stop."""
    published = Published(NodeState(ready=True, reasons=()))
    with Observation(load(config), paths, published, on_failure=lambda: os._exit(3)):
        deadline = time.monotonic() + 20
        while not any(monitor.owner == "exporter" and monitor.up for monitor in published().monitors):
            if time.monotonic() > deadline:
                print(published(), file=sys.stderr)
                os._exit(4)
            time.sleep(0.01)


def main() -> None:
    """Fork a life for every line."""
    config, *roots = map(Path, sys.argv[1:])
    for line in sys.stdin:
        os.environ[write_log.KILL_AFTER] = line.strip()
        child = os.fork()
        if not child:
            live(config, KernelPaths(*roots))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
