"""Measures what each way of watching costs: `make targets-cost`.

A stock kernel is booted, 32 processes in four cgroups run in it, and the exporter watches them in one way after the
other. QEMU counts instructions (icount), so that a CPU second is so many of them, however busy the machine is that
emulates them: ratios can be compared, also with those of another run. How long an instruction takes is not emulated.

``--native`` times passes of attribution on this very machine instead. That reads /proc/kpageflags and
/proc/kpagecgroup, for which it must be root, and nothing of DAMON.
"""

import argparse
import math
import resource
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from damon_exporter import config
from damon_exporter.analysis.idle import IdleAges
from damon_exporter.analysis.snapshot import Regions
from damon_exporter.attribution import Attributor
from damon_exporter.kernel.memory import PAGE_SIZE, Ranges, system_ram
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.physical import PhysicalView
from damon_exporter.state import Owner
from tests.vm.exporter import DAMON_STAT, MIB, Exporter, Metrics, exporter, free_damon
from tests.vm.guest import Guest
from tests.vm.kernels import find_kernel

ICOUNT = "shift=3,sleep=off"
"""An instruction takes 2^3 ns of the guest's time; time in which there is nothing to do is skipped."""
INSTRUCTIONS = 125e6
"""So many are a CPU second, therefore."""
SETTLE, SECONDS, TWO_PASSES = 6.0, 20.0, 30.0
"""How long DAMON is left to find borders, and for how long it is measured then (s of the guest's time)."""
LOOKS = 5
SAMPLES_PER_AGGREGATION = 20

PROCESS = """
import mmap, os, struct, sys, time

def mapped(mib):
    memory = mmap.mmap(-1, mib << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory.write(bytes(mib << 20))
    return memoryview(memory)[::mmap.PAGESIZE]

number, group = int(sys.argv[1]), f"group{int(sys.argv[1]) // 8}"
for path, text in ("/proc/self/comm", group), (f"/sys/fs/cgroup/{group}/cgroup.procs", "0"):
    with open(path, "w") as file:
        file.write(text)
idle, hot, passes = mapped(8), mapped(2), 0
print(number, flush=True)
while number:
    hot.tobytes()
    time.sleep(0.3)
with open(sys.argv[2], "w+b") as file:
    file.truncate(32)
    shown = mmap.mmap(file.fileno(), 32)
while True:
    hot.tobytes()
    passes += 1
    shown[:] = struct.pack("QQdd", os.getpid(), passes, time.process_time(), time.monotonic())
    time.sleep(0.02)
"""
"""One of eight with its comm and cgroup. The very first one shows how many passes it has made over its memory."""
PROCESSES, PASSES = 32, "/tmp/passes"
START = f'for number in $(seq 0 {PROCESSES - 1}); do python -ISc "$PROCESS" $number {PASSES} & done; wait'

GROUPS = tuple({"comm": f"group{number}"} for number in range(4))

OBSERVE = "kernel: {control: never}\nmonitors: []\n"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to watch: its configuration, and the label of the kdamond that it needs, "" for none."""

    title: str
    config: str
    monitor: str = "watched"
    seconds: float = SECONDS


@dataclass(frozen=True, slots=True)
class Look:
    """What shows at one moment: a scrape, and what the process that counts tells of itself (times in s)."""

    text: str
    pid: int
    passes: int
    cpu_seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What was seen of one way; rates are per second of the guest's time, ``own_pace`` per CPU second of the process.

    ``checks`` are regions times samples, per second. Of the working set the least and the most are told.
    """

    pace: float
    own_pace: float
    kdamond: float
    exporter: float
    resident_bytes: float
    series: int
    regions: float
    working_set_bytes: tuple[float, float]
    sample_seconds: float
    checks: float


def ways(pid: int) -> tuple[Way, ...]:
    """All of them; ``pid`` is one of the processes."""
    return (
        Way("(a) nothing", OBSERVE, ""),
        Way("(b) paddr", paddr()),
        Way("(c) paddr, attribution every 15 s", paddr() + attribution("15s"), seconds=TWO_PASSES),
        Way("(c) paddr, attribution every 3 s", paddr() + attribution("3s")),
        Way("(d) vaddr, 1 process", vaddr({"pid": pid})),
        Way("(d) vaddr, 8 processes in 1 group", vaddr({"comm": "group0"})),
        Way("(d) vaddr, 32 processes in 4 groups", vaddr(*GROUPS)),
        Way("(d) the same, regions.min 640", vaddr(*GROUPS, min_regions=640)),
        Way("(e) DAMON_STAT, attribution every 15 s", OBSERVE + attribution("15s"), "damon_stat", TWO_PASSES),
    )


def paddr() -> str:
    """The configuration that watches physical memory."""
    return monitor("operations: paddr")


def vaddr(*match: Mapping[str, object], min_regions: int = 50) -> str:
    """The configuration that watches processes."""
    return monitor(f"operations: vaddr, processes: {{match: {[*match]}}}", min_regions)


def monitor(what: str, min_regions: int = 50) -> str:
    """The configuration of one monitor; by its fewest regions most ways have about as many."""
    how = f"intervals: {{sample: 20ms, aggregation: 400ms, update: 1s}}, regions: {{min: {min_regions}, max: 1000}}"
    return f"kernel: {{settle: 0s}}\nmonitors: [{{name: watched, {how}, {what}}}]\n"


def attribution(every: str) -> str:
    """The configuration of passes that tell cgroups and kinds."""
    return f'attribution: {{cgroups: ["/group*"], interval: {every}}}\n'


def look(guest: Guest, watching: Exporter | None = None) -> Look:
    """Look now."""
    return Look(watching.fetch("/metrics") if watching else "", *struct.unpack("QQdd", guest.get(PASSES)))


def cost(guest: Guest, seconds: float, watching: Exporter | None = None) -> Cost:
    """Look now, in so many seconds, and between; return what that shows."""
    looks = [look(guest, watching)]
    while len(looks) < LOOKS:
        guest.sleep(seconds / (LOOKS - 1))
        looks.append(look(guest, watching))
    scrapes = [Metrics.parse(each.text) for each in looks]
    took, passes = looks[-1].at - looks[0].at, looks[-1].passes - looks[0].passes

    def rate(name: str) -> float:
        """Of the fastest series: all targets of a kdamond have the same snapshots."""
        before = scrapes[0].all(name)
        return max(((value - before[labels]) / took for labels, value in scrapes[-1].all(name).items()), default=0.0)

    def sums(name: str) -> list[float]:
        """Of all series at each look."""
        return [sum(scrape.all(name).values()) for scrape in scrapes]

    regions, working_set_bytes = statistics.mean(sums("damon_regions")), sums("damon_working_set_bytes")
    return Cost(
        pace=passes / took,
        own_pace=passes / (looks[-1].cpu_seconds - looks[0].cpu_seconds),
        kdamond=rate("damon_kdamond_cpu_seconds_total"),
        exporter=rate("process_cpu_seconds_total"),
        resident_bytes=max(sums("process_resident_memory_bytes")),
        series=len(scrapes[-1].samples),
        regions=regions,
        working_set_bytes=(min(working_set_bytes), max(working_set_bytes)),
        sample_seconds=statistics.mean(sums("damon_sample_interval_seconds")),
        checks=regions * rate("damon_snapshots_total") * SAMPLES_PER_AGGREGATION,
    )


def measure(guest: Guest, way: Way) -> Cost:
    """Watch in this way and return what that costs."""
    free_damon(guest)
    with exporter(guest, way.config) as watching:
        if way.monitor == "damon_stat":
            guest.run(f"echo Y > {DAMON_STAT}")
        if way.monitor:
            watching.wait_for(lambda m: m.all("damon_snapshots_total", monitor=way.monitor), "snapshots")
        guest.sleep(SETTLE)
        return cost(guest, way.seconds, watching)


@contextmanager
def workload(guest: Guest) -> Iterator[None]:
    """Run the processes until the block ends."""
    guest.run("cd /sys/fs/cgroup; echo +memory > cgroup.subtree_control; mkdir group0 group1 group2 group3")
    with guest.spawn(START, env={"PROCESS": PROCESS}) as running:
        while running.stdout().count("\n") < PROCESSES:
            guest.sleep(0.5)
        guest.sleep(SETTLE)
        yield


def in_guest(series: str) -> Iterator[str]:
    """Boot a kernel of this series, try every way, and yield the lines of a table."""
    with Guest(find_kernel(series), icount=ICOUNT) as guest, workload(guest):
        free_damon(guest)
        without = cost(guest, SECONDS / 2)
        has_damon_stat = guest.run(f"test -e {DAMON_STAT}", check=False).returncode == 0
        costs = {}
        for way in ways(look(guest).pid):
            if way.monitor != "damon_stat" or has_damon_stat:
                print(way.title, file=sys.stderr)
                costs[way] = measure(guest, way)
        release = guest.kernel.release
    yield f"{release}, emulated by QEMU with -icount {ICOUNT}: a CPU second is {INSTRUCTIONS / 1e6:.0f} M instructions."
    yield f"{PROCESSES} processes, each with 2 MiB that are hot and 8 that are idle; {LOOKS} scrapes."
    yield from header(
        "way, sample, regions, working set MiB, kdamond CPU s/s, to (b), instructions/check, "
        "exporter CPU s/s, to (b), RSS MiB, series, passes/s, passes/CPU s"
    )
    reference = next(found for way, found in costs.items() if way.config == paddr())
    for way, found in costs.items():
        yield row(way, found, without, reference)


def header(titles: str) -> Iterator[str]:
    """Yield the first lines of a Markdown table."""
    columns = titles.split(", ")
    yield from ("", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")


def row(way: Way, found: Cost, without: Cost, reference: Cost) -> str:
    """Return the line of one way; CPU times are compared with ``reference``, the workload's pace with ``without``."""
    kdamond = [
        f"{found.sample_seconds * 1e3:.0f} ms",
        f"{found.regions:.0f}",
        " to ".join(f"{seen / MIB:.0f}" for seen in found.working_set_bytes),
        f"{found.kdamond:.3f}",
        f"{found.kdamond / reference.kdamond:.2f}",
        f"{found.kdamond * INSTRUCTIONS / (found.checks or math.nan):.0f}",
    ]
    cells = [
        way.title,
        *(kdamond if way.monitor else [""] * len(kdamond)),
        f"{found.exporter:.3f}",
        f"{found.exporter / reference.exporter:.2f}",
        f"{found.resident_bytes / MIB:.0f}",
        str(found.series),
        f"{found.pace / without.pace:.1%}",
        f"{found.own_pace / without.own_pace:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


CGROUPS, REGIONS, REPEATS = 128, 1000, 9
FILE_FRAMES, RUN_FRAMES = 1 << 20, 64
"""The other machine is made of files: 4 GiB, of which each so many page frames belong to one of the cgroups."""
ANONYMOUS = 1 << 12 | 1 << 14 | 1 << 5


def on_this_machine() -> Iterator[str]:
    """Yield the lines of a table of single passes."""
    ram = system_ram(Path("/sys"))
    size = sum(end - start for start, end in ram) / (1 << 30)
    yield f"CPU time of one pass over {REGIONS} regions, the median of {REPEATS}. This machine has {size:.0f} GiB."
    yield from header(
        "samples, kinds here, kinds and cgroups here, 128 cgroups of 4 GiB in files, error of a cgroup among them"
    )
    with tempfile.TemporaryDirectory() as folder:
        files = made_of_files(Path(folder))
        here = KernelPaths(sysfs=files.sysfs, procfs=Path("/proc"))
        for samples in (8192, 32_768, 131_072):
            kinds, _ = timed(here, asked(samples), view(ram))
            both, _ = timed(here, asked(samples, "/*"), view(ram))
            told, error = timed(files, asked(samples, "/*"), view(((0, FILE_FRAMES * PAGE_SIZE),)))
            yield f"| {samples} | {kinds:.0f} ms | {both:.0f} ms | {told:.0f} ms | {error:.0%} |"


def made_of_files(folder: Path) -> KernelPaths:
    """Make files that show page frames and cgroups, all of the same size, as a kernel does."""
    paths = KernelPaths(sysfs=folder / "sys", procfs=folder / "proc")
    root = paths.sysfs / "fs/cgroup"
    for made in (paths.procfs, *(root / str(number) for number in range(CGROUPS))):
        made.mkdir(parents=True)
    (root / "cgroup.controllers").write_text("memory")
    inodes = np.array([(root / str(number)).stat().st_ino for number in range(CGROUPS)], np.uint64)
    runs = np.random.default_rng(0).permutation(np.resize(inodes, FILE_FRAMES // RUN_FRAMES))
    (paths.procfs / "kpagecgroup").write_bytes(np.repeat(runs, RUN_FRAMES).tobytes())
    (paths.procfs / "kpageflags").write_bytes(np.full(FILE_FRAMES, ANONYMOUS, np.uint64).tobytes())
    return paths


def asked(samples: int, *cgroups: str) -> config.Attribution:
    """The configuration of passes that draw so many pages."""
    return config.Attribution.model_validate({"samples": samples, "cgroups": cgroups})


def view(ranges: Ranges) -> PhysicalView:
    """A snapshot that nobody has taken: regions of all sizes, bands and ages that cover these ranges."""
    rng = np.random.default_rng(0)
    first, last = np.array(ranges, np.uint64).T // np.uint64(PAGE_SIZE)
    ends = np.cumsum(last - first)
    cuts = np.union1d(ends, rng.integers(0, ends[-1], REGIONS - len(ends), np.uint64))
    place = np.searchsorted(ends, cuts)
    end = (last - ends)[place] + cuts
    start = np.where(np.diff(place, prepend=-1) > 0, first[place], np.roll(end, 1))
    nr_accesses, age = (rng.integers(0, most, len(cuts), np.uint32) for most in (SAMPLES_PER_AGGREGATION + 1, 1000))
    band = np.searchsorted([bound * SAMPLES_PER_AGGREGATION for _, bound in config.Export().bands], nr_accesses)
    ages = IdleAges.without_patches(np.where(nr_accesses, 0, age.astype(np.int64) * 100_000))
    page = np.uint64(PAGE_SIZE)
    return PhysicalView(Regions(np.zeros(len(cuts), np.uint32), start * page, end * page, nr_accesses, age), band, ages)


def timed(paths: KernelPaths, settings: config.Attribution, seen: PhysicalView) -> tuple[float, float]:
    """Return how long a pass takes (ms of CPU time), and the mean of standard error over size of what is shown."""
    attributor = Attributor(settings, config.Export(), paths, Owner, seed=0)
    taken, errors = [], [0.0]
    for _ in range(REPEATS):
        began = time.process_time()
        told = attributor.look(seen)
        taken.append(time.process_time() - began)
        if told is None:
            sys.exit("\n".join(attributor.problems))
        errors = [each.standard_error_bytes / sum(each.band_bytes) for each in told.cgroups] or errors
    return statistics.median(taken) * 1e3, statistics.mean(errors)


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kernel", default="7.3", help="the series to boot")
    options.add_argument("--native", action="store_true", help="time attribution on this machine instead")
    arguments = options.parse_args()
    began = time.monotonic()
    print(f"$ python -m benchmarks.targets {' '.join(sys.argv[1:])}")
    for line in on_this_machine() if arguments.native else in_guest(arguments.kernel):
        print(line)
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    computing = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(f"\n{time.monotonic() - began:.0f} s, {computing:.0f} s of them computing")


if __name__ == "__main__":
    main()
