"""From one kdamond of damo's parameter file to one entry of ``monitors``.

The result makes the kdamond that ``damo start`` would make of the same file. What only tells a state is left out:
``state``, ``pid``, statistics, results; and ``refresh_ms``, as the exporter has its own.
"""

from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_parts import Found, Part, Placed, as_it_is, given, listed, text
from damon_exporter.config.damo_schemes import PlaceOfTarget, schemes
from damon_exporter.config.damo_targets import TARGET, physical, place_by_pid, processes
from damon_exporter.config.damo_values import Clock, basis_points, microseconds

KDAMOND = ("contexts", "pid", "refresh_ms", "state")
CONTEXT = (
    "addr_unit",
    "intervals",
    "nr_regions",
    "ops",
    "ops_attrs",
    "pause",
    "probes",
    "sample_control",
    "schemes",
    "targets",
)
INTERVALS = ("aggr_us", "intervals_goal", "ops_update_us", "sample_us")
INTERVALS_GOAL = ("access_bp", "aggrs", "max_sample_us", "min_sample_us")
PROBE = ("filters", "preps", "weight")
PROBE_FILTER = ("allow", "filter_type", "matching", "path", "range_max", "range_min")

UNKNOWN_TO_THE_KERNEL = "Linux 7.3 has nothing of the kind; leave it out"
WEIGHTS_BLIND = "with weights the kernel looks for probes instead of accesses, so that all would seem idle; leave it 0"

# Each as damo writes it unless it is asked for something else.
DEFAULTS = {
    "sample_control": {"primitives_enabled": {"page_table": True, "page_fault": False}, "sample_filters": []},
    "ops_attrs": {"use_reports": False, "write_only": False, "cpus": "all", "tids": ""},
}


def monitor(kdamond: object, place: str, name: str, problems: Found) -> Placed | None:
    """Return the entry of ``monitors``, None if nothing can be made of it; what is wrong goes to ``problems``."""
    whole = Part(kdamond, place, KDAMOND, problems)
    contexts = whole.parts("contexts", CONTEXT, needed=True)
    if contexts is None:
        return None
    if len(contexts) != 1:
        whole.refuse("contexts", f"has {len(contexts)} entries; the kernel takes exactly one")
        return None
    return Placed({"name": Placed(name, place), **_monitor(contexts[0])}, place)


def _monitor(context: Part) -> dict[str, Placed]:
    for key, default in DEFAULTS.items():
        if context.has(key) and context.get(key, as_it_is) != default:
            context.refuse(key, UNKNOWN_TO_THE_KERNEL)
    intervals, clock = _intervals(context)
    watched, place_of_target = _watched(context)
    return watched | given(
        addr_unit=context.placed("addr_unit", numbers.size, needed=False),
        intervals=intervals,
        regions=_regions(context),
        pause=context.placed("pause", numbers.flag, needed=False),
        probes=listed([_probe(part) for part in context.parts("probes", PROBE) or ()], context.at("probes")),
        schemes=schemes(context, clock, place_of_target),
    )


def _watched(context: Part) -> tuple[dict[str, Placed], PlaceOfTarget]:
    """Return the operations with what they are for, and what becomes of the indexes of targets."""
    operations = context.placed("ops", text)
    targets = context.parts("targets", TARGET, needed=True)
    keys = given(operations=operations)
    if operations is None or targets is None or operations.value not in {"paddr", "vaddr", "fvaddr"}:
        return keys, lambda index: index
    if operations.value == "paddr":
        return keys | given(ranges=physical(context, targets)), lambda index: index
    return keys | given(processes=processes(context, targets, operations.value == "fvaddr")), place_by_pid(targets)


def _intervals(context: Part) -> tuple[Placed, Clock]:
    """Return the intervals, and by what damo turns shares and durations into counts."""
    part = context.part("intervals", INTERVALS, needed=False)
    if part is None:
        return Placed({"sample": Placed("5ms", context.place)}, context.place), Clock()
    clock = Clock.of(part.need("sample_us", numbers.microseconds), part.need("aggr_us", numbers.microseconds))
    keys = given(update=part.placed("ops_update_us", microseconds))
    fixed = given(
        sample=part.placed("sample_us", microseconds, needed=False),
        aggregation=part.placed("aggr_us", microseconds, needed=False),
    )
    goal = part.part("intervals_goal", INTERVALS_GOAL, needed=False)
    tuned = _tuned(goal, Placed(fixed, part.place)) if goal else None
    return Placed(keys | (given(autotune=tuned) if tuned else fixed), part.place), clock


def _tuned(goal: Part, start: Placed) -> Placed | None:
    """Return what intervals are tuned towards, and what they start with; None if they are not tuned."""
    aggregations = goal.placed("aggrs", numbers.whole)
    keys = given(
        access_ratio=goal.placed("access_bp", basis_points),
        aggregations=aggregations,
        min_sample=goal.placed("min_sample_us", microseconds),
        max_sample=goal.placed("max_sample_us", microseconds),
    )
    if aggregations is None or not aggregations.value:
        return None
    return Placed({"start": start, **keys}, goal.place)


def _regions(context: Part) -> Placed:
    part = context.part("nr_regions", ("max", "min"), needed=False)
    if part is None:
        return Placed({"per_process": Placed(0, context.place)}, context.place)
    bounds = given(min=part.placed("min", numbers.whole), max=part.placed("max", numbers.whole))
    return Placed({**bounds, "per_process": Placed(0, part.place)}, part.place)


def _probe(probe: Part) -> Placed:
    if probe.get("weight", numbers.number):
        probe.refuse("weight", WEIGHTS_BLIND)
    if probe.get("preps", as_it_is):
        probe.refuse("preps", UNKNOWN_TO_THE_KERNEL)
    filters = [_probe_filter(part) for part in probe.parts("filters", PROBE_FILTER, needed=True) or ()]
    return Placed(given(filters=listed(filters, probe.at("filters"))), probe.place)


def _probe_filter(part: Part) -> Placed:
    type_ = part.placed("filter_type", text)
    return Placed(
        given(
            type=type_,
            matching=part.placed("matching", numbers.flag),
            allow=part.placed("allow", numbers.flag),
            path=part.placed("path", text) if type_ and type_.value == "memcg" else None,
        ),
        part.place,
    )
