"""From the targets of damo's parameter file to ranges and processes."""

from collections.abc import Callable, Sequence

from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_parts import Part, Placed, as_it_is, given, listed
from damon_exporter.units import shown

TARGET = ("obsolete", "pid", "regions")
REGION = ("age", "end", "nr_accesses", "probe_hits", "start", "sz_filter_passed")

GROUP_BY = "{comm}/{pid}"
"""damo tells each of its targets apart."""


def physical(context: Part, targets: Sequence[Part]) -> Placed | None:
    """Return the ranges of paddr."""
    if len(targets) != 1:
        context.refuse("targets", f"has {len(targets)} entries; the kernel takes exactly one for paddr")
        return None
    (target,) = targets
    _refuse_obsolete(target)
    _refuse_unwatched(target)
    return _ranges(target)


def processes(context: Part, targets: Sequence[Part], fixed: bool) -> Placed | None:
    """Return the processes of vaddr, or of fvaddr, whose ranges are ``fixed``."""
    if not targets:
        context.refuse("targets", "is empty; write at least one with the pid of a process")
        return None
    match = []
    for target in targets:
        _refuse_obsolete(target)
        if fixed:
            _refuse_unwatched(target)
        if not target.has("pid"):
            target.refuse("pid", "missing; write the pid of a process")
        pid = target.placed("pid", _pid, needed=False)
        match.append(Placed(given(pid=pid, ranges=_ranges(target)), target.place))
    place = context.at("targets")
    keys = given(match=listed(match, place), group_by=Placed(GROUP_BY, place), limit=Placed(len(match), place))
    return Placed(keys, place)


def place_by_pid(targets: Sequence[Part]) -> Callable[[int], int]:
    """Return where a target comes to stand in the kernel's list: our lists begin sorted by pid."""
    # What is wrong with a pid has been told.
    pids = [target.get("pid", _pid) or 0 for target in targets]
    places = {index: place for place, index in enumerate(sorted(range(len(pids)), key=pids.__getitem__))}
    return lambda index: places.get(index, index)


def _refuse_obsolete(target: Part) -> None:
    if target.get("obsolete", numbers.flag):
        target.refuse("obsolete", "takes a target out of a kdamond that runs already; leave the whole target out")


def _refuse_unwatched(target: Part) -> None:
    if target.get("regions", as_it_is) == []:
        target.refuse("regions", "is empty, so that the kernel would watch nothing; write which addresses it shall")


def _ranges(target: Part) -> Placed | None:
    """Return the regions of a target, None if it has none."""
    regions = target.parts("regions", REGION, needed=True) or ()
    bounds = [(part.place, part.need("start", numbers.size), part.need("end", numbers.size)) for part in regions]
    ranges = [Placed([start, end], place) for place, start, end in bounds if start is not None and end is not None]
    return listed(ranges, target.at("regions"))


def _pid(value: object) -> int:
    """damo writes a pid as it stands in the file, so it may be text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"takes the pid of a process, not {shown(value)}")
