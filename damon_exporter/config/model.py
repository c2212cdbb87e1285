"""The whole configuration as one value."""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from damon_exporter.config.attribution import Attribution
from damon_exporter.config.fields import (
    BAND_NAME,
    MODULES,
    RATIO,
    Count,
    Flag,
    Section,
    Written,
    as_written,
    ascending,
    converted,
    printable_text,
    seconds,
)
from damon_exporter.config.kubernetes import Kubernetes
from damon_exporter.config.monitors import Monitor
from damon_exporter.config.otlp import Otlp

MOST_BANDS = 32
MOST_MONITORS = 16


def parameter_file(value: object) -> Path:
    """A path, which may be relative."""
    return Path(printable_text(value, 4096))


PARAMETER_FILE = Written(parameter_file, {"type": "string", "minLength": 1, "maxLength": 4096})


class Kernel(Section):
    """What the exporter may do to the kernel."""

    control: Literal["auto", "never"] = Field(default="auto", description="May the exporter start kdamonds of its own?")
    takeover: frozenset[Literal["damon_stat", "damon_reclaim", "damon_lru_sort", "idle_sysfs"]] = Field(
        default=as_written(()),
        description="What may make way for us: a module is stopped and started again afterwards; "
        "idle_sysfs is a tree that somebody left with every kdamond off.",
    )
    settle: Annotated[float, seconds("0s", "1d")] = Field(
        default=as_written("30s"), description="How long DAMON must have been free before we take it."
    )
    on_exit: Literal["stop", "keep", "keep_actions"] = Field(
        default="stop",
        description="Stop our kdamonds on exit, or keep them for the next start: those without schemes that act, or "
        "with keep_actions these too.",
    )
    source: Literal["auto", "tracepoint", "sysfs"] = Field(default="auto", description="Where snapshots come from.")
    allow_actions: Flag = Field(default=False, description="May schemes do more than count (stat)?")
    slots: Count | None = Field(
        default=None,
        ge=1,
        le=MOST_MONITORS,
        description="How many kdamonds to make room for at least, so that a reload may add monitors without a restart "
        "of all; as many as there are monitors, unless given.",
    )

    def slots_for(self, monitors: int) -> int:
        """Return how many slots are made for so many monitors."""
        return max(monitors, self.slots or 0)

    @field_validator("on_exit")
    @classmethod
    def _gives_modules_back(cls, on_exit: str, info: ValidationInfo) -> str:
        stopped = sorted(MODULES & info.data.get("takeover", frozenset()))
        if on_exit != "stop" and stopped:
            raise ValueError(
                f"{on_exit} leaves no room for {stopped[0]}, which takeover promises to start again; use stop"
            )
        return on_exit


class WorkingSet(Section):
    """Percentiles of the working set over time."""

    window: Annotated[float, seconds("1s", "1d")] = Field(
        default=as_written("5m"), description="Over how long the percentiles are taken."
    )
    percentiles: Annotated[tuple[Annotated[Count, Field(ge=0, le=100)], ...], AfterValidator(ascending)] = Field(
        default=(0, 25, 50, 75, 90, 95, 99, 100), description="Which percentiles are exported."
    )


class Heatmap(Section):
    """Heat by address."""

    bins: Count = Field(default=80, ge=0, le=1000, description="Into how many bins memory is divided; 0 turns it off.")
    processes: Flag = Field(default=False, description="For processes too, not only for physical memory.")


def _bands(bounds: dict[str, float]) -> tuple[tuple[str, float], ...]:
    bands = tuple(bounds.items())
    for (lower, before), (name, bound) in pairwise(bands):
        if bound <= before:
            raise ValueError(f"{name} ends at {bound:.4g}, not above {lower} with {before:.4g}; sort by bound")
    if not bands or bands[-1][1] != 1:
        raise ValueError("the last band must end at 100%; add one, so that the bands cover everything")
    return bands


class Export(Section):
    """What is published."""

    publish: Annotated[float, seconds("100ms", "1m")] = Field(
        default=as_written("1s"), description="How often a new state is published."
    )
    bands: Annotated[
        tuple[tuple[str, float], ...],
        converted(
            Annotated[dict[Annotated[str, BAND_NAME], Annotated[float, RATIO]], Field(max_length=MOST_BANDS)],
            _bands,
        ),
    ] = Field(
        default=as_written({"idle": "0%", "cold": "25%", "warm": "75%", "hot": "100%"}),
        description="Bands of access ratio by their upper bounds, inclusive; the last is 100%.",
    )
    idle_age: Annotated[tuple[Annotated[float, seconds("1ms", "365d")], ...], AfterValidator(ascending)] = Field(
        default=as_written(("1s", "5s", "15s", "30s", "1m", "2m", "5m", "10m", "30m", "1h", "3h")),
        min_length=1,
        max_length=64,
        description="Upper bounds of the idle age histogram.",
    )
    working_set: WorkingSet = Field(default_factory=WorkingSet)
    heatmap: Heatmap = Field(default_factory=Heatmap)
    max_series: Count = Field(
        default=20_000,
        ge=100,
        le=1_000_000,
        description="How many samples a scrape holds at most, but for process_*; "
        "damon_exporter_series_dropped counts what is left out.",
    )


class Config(Section):
    """Everything the file says; ``Config()`` is what no file says."""

    kernel: Kernel = Field(default_factory=Kernel)
    monitors: tuple[Monitor, ...] = Field(
        default=as_written(({"name": "node", "operations": "paddr"},)),
        max_length=MOST_MONITORS,
        description="What to monitor where DAMON is free; [] only observes.",
    )
    monitors_from: Annotated[Path, PARAMETER_FILE] | None = Field(
        default=None,
        description="A file of damo's parameters, JSON or YAML: its kdamonds are monitors too. A relative path begins "
        "at the folder of this file.",
    )
    attribution: Attribution | None = Field(
        default=None, description="Whose and what the bytes of physical memory are; off unless given."
    )
    export: Export = Field(default_factory=Export)
    kubernetes: Kubernetes | None = Field(
        default=None, description="Ask the kubelet for names and labels of pods; off unless given."
    )
    otlp: Otlp | None = Field(default=None, description="Push metrics by OTLP, too; off unless given.")
