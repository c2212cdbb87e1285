"""damo itself, run on recordings, and recordings that are made for it.

The damo commands that run here are given a recording, and then look for no DAMON in the running kernel.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from damon_exporter.analysis.snapshot import Intervals, Regions, Snapshot

SNAPSHOTS = 260
INTERVALS = Intervals(5_000, 100_000)
DEMO = Path(__file__).parents[1] / "damon_exporter/recordings/demo.damon"

# Root could change the running kernel's DAMON: damo gets a mount namespace in which there is none.
HIDE = 'mount -t tmpfs -o ro none /sys/kernel/mm && exec "$@"'
HIDDEN_KERNEL = ["unshare", "--mount", "sh", "-c", HIDE, "damo"] if os.geteuid() == 0 else []

Damo = Callable[..., str]


def damo_at(home: Path) -> Damo:
    """Return what runs damo on a recording; the answer is what it printed."""

    def run(*arguments: str | Path, recording: Path, option: str = "--input") -> str:
        assert recording.is_file(), "without a recording damo would turn to the running kernel"
        command = [*HIDDEN_KERNEL, sys.executable, "-m", "damo.damo", *map(str, arguments), option, str(recording)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=home, env={**os.environ, "HOME": str(home)}
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout

    return run


def changing_snapshots(seed: int, targets: int) -> list[Snapshot]:
    """Make snapshots whose region counts, sizes, accesses and ages change all the time."""
    random = np.random.default_rng(seed)
    return [
        Snapshot(
            kdamond=0,
            end_ns=5 * 10**12 + step * 100_300_000,
            regions=_join([_changing_regions(random, target, step) for target in range(targets)]),
            intervals=INTERVALS,
            age_unit_us=INTERVALS.aggregation_us,
        )
        for step in range(SNAPSHOTS)
    ]


def tuned_snapshots() -> list[Snapshot]:
    """Make two snapshots between which auto-tuning made the intervals four times as long."""
    before, after = changing_snapshots(3, targets=1)[:2]
    return [before, Snapshot(0, before.end_ns + 400_000_000, after.regions, Intervals(20_000, 400_000), 400_000)]


def _changing_regions(random: np.random.Generator, target: int, step: int) -> Regions:
    """Cut a range that grows and shrinks into 3 to 150 regions, the share of accessed ones swinging with time."""
    pages = int(2**20 * (1.5 + np.sin(step / 17 + target)))
    cuts = np.unique(random.integers(0, pages, random.integers(5, 150))).astype(np.uint64) * np.uint64(4096)
    bounds = cuts + np.uint64((target + 1) << 40)
    count = len(bounds) - 1
    accessed = random.random(count) < 0.5 + 0.4 * np.sin(step / 31)
    return Regions(
        target=np.full(count, target, np.uint32),
        start=bounds[:-1],
        end=bounds[1:],
        nr_accesses=np.where(accessed, random.integers(1, 21, count), 0).astype(np.uint32),
        age=random.integers(0, 3000, count).astype(np.uint32),
    )


def _join(parts: list[Regions]) -> Regions:
    return Regions(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in Regions.__slots__})
