"""The schemes of DAMON's modules, which tell of them by parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from damon_exporter.kernel.errors import KernelError
from damon_exporter.kernel.files import read_number
from damon_exporter.kernel.scheme_stats import ShownScheme, Watermarks, in_bytes


@dataclass(frozen=True, slots=True)
class _ModuleScheme:
    """``counters`` maps the kernel's usual names to parameters."""

    label: str
    action: str
    counters: Mapping[str, str]


def _sorted(label: str, action: str) -> _ModuleScheme:
    return _ModuleScheme(
        label,
        action,
        {
            "nr_tried": f"nr_lru_sort_tried_{label}_regions",
            "sz_tried": f"bytes_lru_sort_tried_{label}_regions",
            "nr_applied": f"nr_lru_sorted_{label}_regions",
            "sz_applied": f"bytes_lru_sorted_{label}_regions",
            "qt_exceeds": f"nr_{label}_quota_exceeds",
        },
    )


SCHEMES: Mapping[str, tuple[_ModuleScheme, ...]] = {
    "damon_reclaim": (
        _ModuleScheme(
            "reclaim",
            "pageout",
            {
                "nr_tried": "nr_reclaim_tried_regions",
                "sz_tried": "bytes_reclaim_tried_regions",
                "nr_applied": "nr_reclaimed_regions",
                "sz_applied": "bytes_reclaimed_regions",
                "qt_exceeds": "nr_quota_exceeds",
            },
        ),
    ),
    "damon_lru_sort": (_sorted("hot", "lru_prio"), _sorted("cold", "lru_deprio")),
}
"""In the order of their indexes in the kernel (mm/damon/reclaim.c, lru_sort.c)."""


def module_schemes(name: str, folder: str, unit: int) -> tuple[tuple[str, ShownScheme], ...]:
    """Return the schemes of a module with their labels, none if it has none or does not tell of them."""
    try:
        return tuple(
            (scheme.label, _shown(index, scheme, folder, unit)) for index, scheme in enumerate(SCHEMES.get(name, ()))
        )
    except KernelError:
        return ()


def _shown(index: int, scheme: _ModuleScheme, folder: str, unit: int) -> ShownScheme:
    read = {name: read_number(f"{folder}/{parameter}") for name, parameter in scheme.counters.items()}
    return ShownScheme(
        index=index,
        action=scheme.action,
        counters=in_bytes(read, unit),
        effective_quota=None,
        goals=(),
        watermarks=Watermarks(*(read_number(f"{folder}/wmarks_{name}") for name in ("high", "mid", "low"))),
    )
