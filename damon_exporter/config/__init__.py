"""The configuration: one YAML file, every key optional, nothing misspelt accepted in silence."""

from damon_exporter.config.intervals import AutotunedIntervals, FixedIntervals
from damon_exporter.config.json_schema import schema
from damon_exporter.config.loading import load
from damon_exporter.config.messages import ConfigError
from damon_exporter.config.model import Config, Export, Heatmap, Kernel, WorkingSet
from damon_exporter.config.monitors import Match, Monitor, Processes, Regions

__all__ = [
    "AutotunedIntervals",
    "Config",
    "ConfigError",
    "Export",
    "FixedIntervals",
    "Heatmap",
    "Kernel",
    "Match",
    "Monitor",
    "Processes",
    "Regions",
    "WorkingSet",
    "load",
    "schema",
]
