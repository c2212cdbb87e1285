"""The configuration: one YAML file, every key optional, nothing misspelt accepted in silence."""

from damon_exporter.config.attribution import Attribution
from damon_exporter.config.intervals import AutotunedIntervals, FixedIntervals
from damon_exporter.config.json_schema import schema
from damon_exporter.config.kubernetes import Kubernetes, PodMatch
from damon_exporter.config.loading import load
from damon_exporter.config.messages import ConfigError
from damon_exporter.config.model import Config, Export, Heatmap, Kernel, WorkingSet
from damon_exporter.config.monitors import Monitor, Regions
from damon_exporter.config.otlp import Otlp
from damon_exporter.config.processes import Match, Processes
from damon_exporter.config.quotas import Quotas
from damon_exporter.config.scheme_filters import ProbeFilter, SchemeFilter
from damon_exporter.config.schemes import Scheme

__all__ = [
    "Attribution",
    "AutotunedIntervals",
    "Config",
    "ConfigError",
    "Export",
    "FixedIntervals",
    "Heatmap",
    "Kernel",
    "Kubernetes",
    "Match",
    "Monitor",
    "Otlp",
    "PodMatch",
    "ProbeFilter",
    "Processes",
    "Quotas",
    "Regions",
    "Scheme",
    "SchemeFilter",
    "WorkingSet",
    "load",
    "schema",
]
