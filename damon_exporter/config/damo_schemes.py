"""From the schemes of damo's parameter file to ours."""

from collections.abc import Callable

from damon_exporter.config import damo_numbers as numbers
from damon_exporter.config.damo_parts import Part, Placed, given, listed, text
from damon_exporter.config.damo_quotas import quotas
from damon_exporter.config.damo_values import Clock, bound, microseconds, permil
from damon_exporter.config.scheme_filters import CORE_TYPES
from damon_exporter.units import SIZE_MAX, shown

SCHEME = (
    "access_pattern",
    "action",
    "apply_interval_us",
    "dests",
    "filters",
    "quotas",
    "stats",
    "target_nid",
    "tried_bytes",
    "tried_regions",
    "watermarks",
)
BOUNDS = ("max", "min")
WATERMARKS = ("high_permil", "interval_us", "low_permil", "metric", "mid_permil")
FILTER = (
    "address_range",
    "allow",
    "damon_target_idx",
    "filter_pass",
    "filter_type",
    "hugepage_size",
    "matching",
    "memcg_path",
    "probe_hits_wsum_range",
)

PlaceOfTarget = Callable[[int], int]
"""From the index of a target in the file to that in the kernel's list."""


def schemes(context: Part, clock: Clock, place_of_target: PlaceOfTarget) -> Placed | None:
    """Return the schemes of a context, named by their index; what is wrong with them goes to its problems."""
    parts = context.parts("schemes", SCHEME) or ()
    found = [_scheme(part, str(i), clock, place_of_target) for i, part in enumerate(parts)]
    return listed(found, context.at("schemes"))


def _scheme(scheme: Part, name: str, clock: Clock, place_of_target: PlaceOfTarget) -> Placed:
    # What damo reads as statistics it does not write: max_nr_snapshots is lost on the way through a file.
    keys = given(
        name=Placed(name, scheme.place),
        action=scheme.placed("action", text, needed=False) if scheme.has("action") else Placed("stat", scheme.place),
        access_pattern=_access_pattern(scheme, clock),
        apply_interval=scheme.placed("apply_interval_us", microseconds, needed=False),
        quotas=quotas(scheme),
        watermarks=_watermarks(scheme),
        target_nid=scheme.placed("target_nid", numbers.node, needed=False),
        dests=_dests(scheme),
    )
    return Placed(keys | _filters(scheme, place_of_target), scheme.place)


def _access_pattern(scheme: Part, clock: Clock) -> Placed | None:
    part = scheme.part("access_pattern", ("age", "nr_accesses", "sz_bytes"), needed=False)
    if part is None:
        return None
    return Placed(
        given(
            size=_bounds(part, "sz_bytes", lambda value: min(numbers.size(value), SIZE_MAX)),
            nr_accesses=_bounds(part, "nr_accesses", _accesses(clock)),
            age_aggregations=_bounds(part, "age", _age(clock)),
        ),
        part.place,
    )


def _bounds(pattern: Part, key: str, read: Callable[[object], int]) -> Placed | None:
    part = pattern.part(key, BOUNDS)
    if part is None:
        return None
    least, most = part.need("min", read), part.need("max", read)
    return Placed([least, most], part.place) if least is not None and most is not None else None


def _accesses(clock: Clock) -> Callable[[object], int]:
    def read(value: object) -> int:
        if (amount := numbers.counted(value, "samples")) is not None:
            return bound(int(amount))
        return clock.accesses(numbers.percent(value))

    return read


def _age(clock: Clock) -> Callable[[object], int]:
    def read(value: object) -> int:
        if (amount := numbers.counted(value, "aggr_intervals")) is not None:
            return bound(int(amount))
        return clock.age(numbers.microseconds(value))

    return read


def _watermarks(scheme: Part) -> Placed | None:
    part = scheme.part("watermarks", WATERMARKS, needed=False)
    metric = part.placed("metric", text) if part else None
    if part is None or (metric and metric.value == "none"):
        return None
    return Placed(
        given(
            metric=metric,
            interval=part.placed("interval_us", microseconds),
            high=part.placed("high_permil", permil),
            mid=part.placed("mid_permil", permil),
            low=part.placed("low_permil", permil),
        ),
        part.place,
    )


def _dests(scheme: Part) -> Placed | None:
    nodes = [
        Placed(given(id=part.placed("id", numbers.whole), weight=part.placed("weight", numbers.whole)), part.place)
        for part in scheme.parts("dests", ("id", "weight")) or ()
    ]
    return listed(nodes, scheme.at("dests"))


def _filters(scheme: Part, place_of_target: PlaceOfTarget) -> dict[str, Placed]:
    """Return the filters by who looks at them; the order among these is all that counts."""
    found = [_filter(part, place_of_target) for part in scheme.parts("filters", FILTER) or ()]
    place = scheme.at("filters")
    return given(
        core_filters=listed([each for each in found if _type(each) in CORE_TYPES], place),
        ops_filters=listed([each for each in found if _type(each) not in CORE_TYPES], place),
    )


def _type(filter_: Placed) -> str | None:
    type_: Placed | None = filter_.value.get("type")
    return type_.value if type_ else None


def _filter(part: Part, place_of_target: PlaceOfTarget) -> Placed:
    type_ = part.placed("filter_type", _known_type)
    keys = given(
        type=type_,
        matching=part.placed("matching", numbers.flag),
        allow=part.placed("allow" if part.has("allow") else "filter_pass", numbers.flag, needed=False),
    )
    return Placed(keys | _setting(part, type_.value if type_ else "", place_of_target), part.place)


def _setting(part: Part, type_: str, place_of_target: PlaceOfTarget) -> dict[str, Placed]:
    """Return what a type of filters is about; damo writes what others are about too, and the kernel overlooks it."""
    match type_:
        case "memcg":
            return given(path=part.placed("memcg_path", text))
        case "addr":
            return given(range=_address_range(part))
        case "target":
            return given(target=part.placed("damon_target_idx", lambda value: place_of_target(numbers.whole(value))))
        case "hugepage_size":
            return given(size=part.placed("hugepage_size", _sizes))
    return {}


def _known_type(value: object) -> str:
    if value == "probe_hits_wsum":
        raise ValueError("Linux 7.3 has no filters of type probe_hits_wsum; leave it out")
    return text(value)


def _address_range(filter_: Part) -> Placed | None:
    part = filter_.part("address_range", ("end", "start"))
    if part is None:
        return None
    start, end = part.need("start", numbers.size), part.need("end", numbers.size)
    return Placed([start, end], part.place) if start is not None and end is not None else None


def _sizes(value: object) -> list[int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"takes the smallest and the largest size, not {shown(value)}")
    return [numbers.size(each) for each in value]
