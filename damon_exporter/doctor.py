"""What this kernel, these permissions and this configuration allow, line by line, with the cure for each "no"."""

import textwrap
import time
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import numpy as np

from damon_exporter.config import Attribution, Config, ConfigError, Monitor, Otlp
from damon_exporter.containers.named import PodLookup
from damon_exporter.containers.names import ContainerNames
from damon_exporter.kernel import features, memory, procfs
from damon_exporter.kernel.cgroups import CgroupTree
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import Busy, Gone, KernelError
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Holder, Survey, TreeLock, survey
from damon_exporter.kernel.page_frames import PageFrames
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.scheme_stats import ShownScheme, shown_schemes
from damon_exporter.naming import container_names
from damon_exporter.obstacles import obstacles
from damon_exporter.planning import NO_TUNING, instead_of_tuning
from damon_exporter.pushing import check_push
from damon_exporter.targets import targets_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``ok`` True (yes), False (no, with a cure) or None (neither good nor bad)."""

    ok: bool | None
    subject: str
    detail: str

    def __str__(self) -> str:
        mark = {True: "yes", False: "NO ", None: " - "}[self.ok]
        lines = textwrap.wrap(self.detail, width=88) or [""]
        return "\n".join([f"[{mark}] {self.subject}: {lines[0]}", *(f"      {line}" for line in lines[1:])])


def examine(config: Config, paths: KernelPaths) -> Iterator[Finding]:
    """Yield findings; nothing is written, and nothing is started."""
    yield Finding(None, "kernel", procfs.kernel_release(paths.procfs))
    found = features.probe(paths)
    for feature in found:
        yield Finding(feature.present, feature.name, feature.detail if feature.present else _with_cure(feature))
    if config.otlp:
        yield from _pushing(config.otlp)
    tree = DamonTree(paths.damon_admin)
    try:
        seen = survey(tree, len(config.monitors))
        yield from _who_runs(paths, tree, seen)
    except (Busy, Gone) as passing:
        yield Finding(False, "control tree", f"another tool is changing it just now, so look again later: {passing}")
        return
    yield from _memory(paths)
    if config.attribution:
        yield from _attribution(config.attribution, paths)
    names = container_names(config, paths, lambda: None)
    names.refresh(time.monotonic())
    yield from _names(names)
    lock_problem = _lock_problem(tree)
    blocked = obstacles(config.kernel.takeover, seen, modules(paths), found, lock_problem)
    if config.kernel.control == "never":
        yield Finding(None, "control", "kernel.control is never: kdamonds of others are observed, none is started")
        return
    for reason, sentence in blocked.items():
        yield Finding(False, f"control blocked by {reason}", sentence)
    if not blocked:
        yield Finding(True, "control", _when_free(config, seen))
    by_another = seen.holder is Holder.US and isinstance(lock_problem, Busy)
    for monitor in config.monitors:
        yield _monitor(monitor, paths, names.pod_of, blocked=bool(blocked), by_another=by_another)
        yield from _acting(monitor)
        yield from _tuning(monitor, {feature.name for feature in found if feature.present})


def _with_cure(feature: features.Feature) -> str:
    return f"missing, so not to be had: {feature.detail}. Cure: {feature.cure}"


def _pushing(otlp: Otlp) -> Iterator[Finding]:
    """Say whether pushes could be made; the receiver is not asked."""
    try:
        check_push(otlp)
    except ConfigError as error:
        yield from (Finding(False, "push", problem) for problem in error.problems)
        return
    receiver = otlp.endpoint.partition("?")[0]  # a query may hold a secret
    yield Finding(True, "push", f"every {otlp.interval:g} s to {receiver}; the log says whether it takes them")


def _who_runs(paths: KernelPaths, tree: DamonTree, seen: Survey) -> Iterator[Finding]:
    if seen.problem:
        return
    for slot in tree.slots():
        if pid := slot.pid():
            owner = "an exporter" if slot.index in seen.tokens else "another tool"
            yield Finding(None, f"slot {slot.index}", f"kdamond {pid} of {owner} runs{_acts(shown_schemes(slot))}")
    for module in modules(paths):
        if module.enabled:
            acts = _acts(shown for _, shown in module.schemes)
            yield Finding(None, module.name, f"runs; it is observed, and excludes every other user of DAMON{acts}")


def _acts(schemes: Iterable[ShownScheme]) -> str:
    """Say what schemes do to memory, "" if they only count."""
    actions = [scheme.action for scheme in schemes if scheme.action != "stat"]
    return f"; it acts on memory: {', '.join(actions)}" if actions else ""


def _lock_problem(tree: DamonTree) -> KernelError | None:
    try:
        TreeLock(tree).release()
    except KernelError as problem:
        return problem
    return None


def _memory(paths: KernelPaths) -> Iterator[Finding]:
    try:
        ranges = memory.system_ram(paths.sysfs)
    except KernelError as problem:
        yield Finding(False, "physical memory", str(problem))
        return
    total = sum(end - start for start, end in ranges)
    yield Finding(True, "physical memory", f"{total / 2**30:.1f} GiB of System RAM in {len(ranges)} ranges")


def _when_free(config: Config, seen: Survey) -> str:
    if seen.holder is Holder.US:
        return "slots of an earlier run are there: they are adopted at once"
    return f"DAMON is free: monitors start when it has been so for {config.kernel.settle:g} s (kernel.settle)"


def _attribution(wanted: Attribution, paths: KernelPaths) -> Iterator[Finding]:
    """Say whether a pass could be made, by looking at one page frame."""
    frames, first = PageFrames(paths.procfs), np.zeros(1, np.uint64)
    looks = {"kinds": lambda: frames.flags(first), "cgroups": lambda: frames.cgroups(first)}
    for name, asked in (("kinds", wanted.kinds), ("cgroups", wanted.cgroups)):
        if not asked:
            continue
        try:
            looks[name]()
        except KernelError as problem:
            yield Finding(False, f"attribution.{name}", str(problem))
            continue
        problem_of_tree = CgroupTree(paths.sysfs).unsupported() if name == "cgroups" else None
        yield Finding(not problem_of_tree, f"attribution.{name}", problem_of_tree or "page frames can be looked at")


def _names(names: ContainerNames) -> Iterator[Finding]:
    """Say whether containers have names, if there are any or a kubelet is to be asked."""
    for problem in names.problems:
        yield Finding(False, "names of pods", problem)
    if names.named:
        yield Finding(True, "names of pods", f"{names.named} containers have names")


def _monitor(monitor: Monitor, paths: KernelPaths, pod_of: PodLookup, blocked: bool, by_another: bool) -> Finding:
    subject = f"monitor {monitor.name}"
    now, targets = time.monotonic(), targets_of(monitor, paths, pod_of)
    reason = targets.missing(now)
    if by_another:
        return Finding(
            None, subject, "is for the exporter that holds DAMON to run: its landing page says whether it does"
        )
    if blocked:
        besides = f". Besides, {reason}" if reason else ""
        return Finding(False, subject, f"does not run: DAMON cannot be controlled now, see above for the cure{besides}")
    if reason:
        return Finding(False, subject, f"does not start now: {reason}")
    if monitor.command:
        return Finding(True, subject, f"will start {monitor.command[0]} and watch it")
    if monitor.processes:
        left_out = f", leaving out {targets.dropped} (limit, min_rss)" if targets.dropped else ""
        return Finding(True, subject, f"will watch {len(targets.find(now))} processes{left_out}")
    return Finding(True, subject, "will watch physical memory")


def _acting(monitor: Monitor) -> Iterator[Finding]:
    """Say what does more than count."""
    for scheme in monitor.schemes:
        if scheme.acts:
            yield Finding(None, f"scheme {scheme.name} of {monitor.name}", f"acts on memory: {scheme.action}")


def _tuning(monitor: Monitor, present: Set[str]) -> Iterator[Finding]:
    """Say that tuning is not to be had: the files that it needs are as old as the event that tells of it, or older."""
    instead = instead_of_tuning(monitor)
    if instead is None or "damon_monitor_intervals_tune" in present:
        return
    subject = f"intervals of {monitor.name}"
    if "damon_aggregated" in present:
        yield Finding(False, subject, f"{NO_TUNING}: {instead}")
    else:
        yield Finding(None, subject, f"tuned if the kernel can and tells of it (from 6.17 on); otherwise {instead}")
