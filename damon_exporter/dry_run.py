"""What would be written to the kernel now, file by file, without writing anything or starting a command."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from damon_exporter.config import Config, Monitor
from damon_exporter.containers.named import PodLookup
from damon_exporter.kernel import features
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.errors import Busy, Gone, KernelError
from damon_exporter.kernel.files import is_there
from damon_exporter.kernel.modules import modules
from damon_exporter.kernel.ownership import Token, survey
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.kernel.plan import NR_SCHEMES, TOKEN_FILE, KdamondPlan
from damon_exporter.kernel.procfs import WHOEVER
from damon_exporter.kernel.scheme_features import BEHAVIOURS, FILES, SCHEME, SINCE
from damon_exporter.naming import container_names
from damon_exporter.obstacles import obstacles
from damon_exporter.planning import EVERYTHING, TUNING, Abilities, abilities_of, plan_monitor
from damon_exporter.roster import WatchedProcess
from damon_exporter.seating import seated
from damon_exporter.targets import NothingToWatch, targets_of

FOR_EVERYTHING = "this is for a kernel that has everything. What it lacks is left out, and what needs it is refused"
LOOKED_AT = "what filters and goals may be can only be tried by writing: what the kernel lacks of that is refused then"

COMMAND_PID = 0
"""What stands for the pid of a command, which only starting it would give."""


def rehearse(config: Config, paths: KernelPaths) -> Iterator[str]:
    """Yield lines, as comments and as ``file: value`` below the folder of kdamonds, in the order of writing."""
    if config.kernel.control == "never":
        yield "# kernel.control is never: nothing is written"
        return
    how, abilities = _abilities(config, paths)
    yield f"# {how}"
    for reason in _obstacles(config, paths):
        yield f"# nothing of this is written while it is so: {reason}"
    names = container_names(config, paths, lambda: None)
    names.refresh(time.monotonic())
    stopped = frozenset(module.name for module in modules(paths) if module.enabled) & config.kernel.takeover
    yield f"nr_kdamonds: {config.kernel.slots_for(len(config.monitors))}"
    for name in sorted(stopped):
        yield f"{paths.module_parameters(name)}/enabled: N"
    for slot, monitor in enumerate(config.monitors):
        yield f"# monitor {monitor.name}"
        try:
            targets = seated(_processes(monitor, paths, names.pod_of))
            planned = plan_monitor(monitor, targets, abilities, paths)
        except (NothingToWatch, KernelError) as problem:
            yield f"# does not start now: {problem}"
            continue
        yield from _files(slot, planned.plan, stopped)


def _files(slot: int, plan: KdamondPlan, stopped: frozenset[str]) -> Iterator[str]:
    token = Token(stopped, plan.fingerprint).encode()
    marks = (("contexts/nr_contexts", "1"), (NR_SCHEMES, str(plan.nr_schemes)), (TOKEN_FILE, str(token)))
    for file, value in (*marks, *plan.leaves(), ("state", "on")):
        shown = "(the pid of the command)" if file.endswith("/pid_target") and value == str(COMMAND_PID) else value
        yield f"{slot}/{file}: {shown}"


def _processes(monitor: Monitor, paths: KernelPaths, pod_of: PodLookup) -> tuple[WatchedProcess, ...]:
    if monitor.command:
        return (WatchedProcess(COMMAND_PID, WHOEVER, monitor.command[0]),)
    return targets_of(monitor, paths, pod_of).find(time.monotonic())


def _obstacles(config: Config, paths: KernelPaths) -> Iterable[str]:
    """Say what keeps an exporter from taking DAMON; what it has taken already is its own."""
    try:
        seen = survey(DamonTree(paths.damon_admin), config.kernel.slots_for(len(config.monitors)))
    except (Busy, Gone) as passing:
        return (f"another tool is changing the control tree just now: {passing}",)
    return obstacles(config.kernel.takeover, seen, modules(paths), features.probe(paths), None).values()


def _abilities(config: Config, paths: KernelPaths) -> tuple[str, Abilities]:
    """Say how it was found out what DAMON can do here, and return that, as far as it shows without writing."""
    by_sysfs = config.kernel.source == "sysfs" or not features.has(paths, "damon_aggregated")
    slot = DamonTree(paths.damon_admin).slot(0)
    if not slot.has(SCHEME):
        missing = "no slot is there to look at" if is_there(paths.damon_admin) else f"{paths.damon_admin} is not there"
        return f"{missing}: {FOR_EVERYTHING}", replace(EVERYTHING, region_schemes=by_sysfs)
    untried = (key for key in SINCE if "=" in key or "/0/" in key or key in BEHAVIOURS)
    seen = (key for key in FILES if slot.has(f"{SCHEME}/{key}"))
    return LOOKED_AT, abilities_of(
        slot, by_sysfs, by_sysfs or features.has(paths, TUNING), frozenset((*untried, *seen))
    )
