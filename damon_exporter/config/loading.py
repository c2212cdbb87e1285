"""From a file to a configuration, with everything that is wrong with it at once."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from damon_exporter.config.fields import Place
from damon_exporter.config.intervals import LONGEST_AGGREGATION_US, LONGEST_SYSFS_AGGREGATION_US
from damon_exporter.config.messages import ConfigError, problems
from damon_exporter.config.model import Config
from damon_exporter.config.monitors_from import AllMonitors
from damon_exporter.config.reading import read


def load(file: Path | None) -> Config:
    """The configuration in a file, or the default one without a file.

    Raises ConfigError with one line per problem: unreadable, not YAML, unknown keys, values out of bounds.
    """
    return check(read(file), file.parent) if file else check({})


def check(keys: Mapping[str, object], folder: Path = Path()) -> Config:
    """The configuration that these keys make; ConfigError as for ``load``. ``monitors_from`` begins at ``folder``."""
    monitors = AllMonitors(keys, folder)
    found: list[tuple[Place, str]] = []
    try:
        config = Config.model_validate(monitors.keys, context=_rules_between_sections(keys))
    except ValidationError as error:
        found = problems(error)
    if lines := monitors.lines(found):
        raise ConfigError(lines)
    return config


def _rules_between_sections(keys: Mapping[str, object]) -> dict[str, object]:
    """What one section of the file allows in another."""
    kernel, kubernetes = keys.get("kernel"), keys.get("kubernetes")
    by_sysfs = isinstance(kernel, Mapping) and kernel.get("source") == "sysfs"
    return {
        "longest_aggregation_us": LONGEST_SYSFS_AGGREGATION_US if by_sysfs else LONGEST_AGGREGATION_US,
        "allow_actions": isinstance(kernel, Mapping) and kernel.get("allow_actions") is True,
        "has_kubelet": isinstance(kubernetes, Mapping) and "kubelet_url" in kubernetes,
    }
