"""The process that is the fake kernel. Ends when it is unmounted or its standard input ends."""

import json
import os
import sys
import threading
import traceback
from pathlib import Path

import click

from damon_exporter.testing.fake_kernel import profile
from damon_exporter.testing.fake_kernel.control import Control
from damon_exporter.testing.fake_kernel.fuse_mount import mount, unmount
from damon_exporter.testing.fake_kernel.fuse_server import FuseServer
from damon_exporter.testing.fake_kernel.kernel import Kernel
from damon_exporter.testing.fake_kernel.machine import DEFAULT_MEMORY_MAP, MemoryMapEntry, NumaNodes

CRASHED = 70  # EX_SOFTWARE


@click.command()
@click.argument("mountpoint", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--kernel", "name", type=click.Choice(profile.KNOWN), default=profile.KNOWN[-1])
@click.option("--cpus", type=click.IntRange(1, 4096), default=2)
@click.option("--control", "socket", type=click.Path(path_type=Path), required=True, help="Unix socket to make.")
@click.option("--enable", "enabled", multiple=True, help="Module that runs from boot, such as damon_stat.")
@click.option("--memory-map", type=json.loads, help="JSON: [[start, end, type], …] of physical memory.")
@click.option("--numa-nodes", type=json.loads, default=1, help="JSON: how many, or [[start, end], …] of each.")
def main(
    mountpoint: Path,
    name: str,
    cpus: int,
    socket: Path,
    enabled: tuple[str, ...],
    memory_map: list[tuple[int, int, str]] | None,
    numa_nodes: NumaNodes,
) -> None:
    """Mount a fake kernel at MOUNTPOINT and serve it until standard input ends."""
    threading.excepthook = crash
    entries = DEFAULT_MEMORY_MAP if memory_map is None else [MemoryMapEntry(*entry) for entry in memory_map]
    kernel = Kernel(profile.Profile.named(name), cpus, entries, enabled, numa_nodes)
    control = Control(kernel, socket)
    device = mount(mountpoint)
    threading.Thread(target=unmount_at_end_of_input, args=(mountpoint,), daemon=True).start()
    threading.Thread(target=control.serve, daemon=True).start()
    FuseServer(device, kernel.root, kernel.lock, kernel.faults).serve()


def unmount_at_end_of_input(mountpoint: Path) -> None:
    """Who started us has gone, or wants us to go."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    unmount(mountpoint)
    os._exit(0)  # commands in flight sleep for ever, and must not keep us


def crash(arguments: threading.ExceptHookArgs) -> None:
    """A mistake in the fake ends it with a traceback, so that no user waits for an answer that never comes."""
    traceback.print_exception(arguments.exc_value)
    os._exit(CRASHED)


if __name__ == "__main__":
    main()
