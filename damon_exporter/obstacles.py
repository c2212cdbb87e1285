"""Why DAMON cannot be taken now, each reason with its cure, by the reason's name in ``damon_control_blocked``."""

from collections.abc import Iterable, Mapping, Set

from damon_exporter.kernel.errors import Busy, Denied, Gone, KernelError, NotOurs, Stuck
from damon_exporter.kernel.features import Feature
from damon_exporter.kernel.modules import Module
from damon_exporter.kernel.ownership import Holder, Survey

STUCK = {"stuck": "a command to a kdamond has not been answered for long; observing goes on"}


def obstacles(
    takeover: Set[str],
    seen: Survey,
    built_in: Iterable[Module],
    features: Iterable[Feature],
    lock_problem: KernelError | None,
) -> Mapping[str, str]:
    """Return what keeps us from taking the tree."""
    found = dict(modules_in_the_way(takeover, built_in))
    for problem in (seen.problem, lock_problem):
        if problem is not None:
            found.setdefault(reason_of(problem), str(problem))
    missing = {feature.name: feature for feature in features if not feature.present}
    if "damon_sysfs" in missing:
        cure = missing["damon_sysfs"].cure
        found["unsupported"] = f"this kernel shows no DAMON: {cure}"
    elif "damon_sysfs_write" in missing:
        cure = missing["damon_sysfs_write"].cure
        found["permission"] = f"DAMON's control tree cannot be written: {cure}"
    if seen.holder is Holder.SOMEBODY:
        found["foreign_kdamond"] = (
            "kdamonds of another tool run. Observing them instead; ours start when nr_kdamonds has been 0 for "
            "kernel.settle"
        )
    elif seen.holder is Holder.SOMEBODY_IDLE and "idle_sysfs" not in takeover:
        found["foreign_kdamond"] = (
            "another tool has left its kdamonds in the control tree, all off. Write 0 to nr_kdamonds, or set "
            "kernel.takeover: [idle_sysfs] to use such a tree"
        )
    return found


def modules_in_the_way(takeover: Set[str], built_in: Iterable[Module]) -> Mapping[str, str]:
    """Return the modules that run and may not be stopped: they exclude every other user of DAMON."""
    return {
        module.name: f"{module.name} holds DAMON. Observing it instead; set kernel.takeover: [{module.name}] to "
        "stop it while the exporter runs (it is started again on exit)"
        for module in built_in
        if module.enabled and module.name not in takeover
    }


def reason_of(problem: KernelError) -> str:
    """Return the reason's name for what went wrong."""
    if isinstance(problem, Stuck):
        return "stuck"
    if isinstance(problem, Busy | Gone | NotOurs):
        return "foreign_kdamond"
    return "permission" if isinstance(problem, Denied) else "unsupported"
