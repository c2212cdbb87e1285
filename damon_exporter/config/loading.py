"""From a file to a configuration, with everything that is wrong with it at once."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from damon_exporter.config.intervals import LONGEST_AGGREGATION_US, LONGEST_SYSFS_AGGREGATION_US
from damon_exporter.config.messages import ConfigError, problems
from damon_exporter.config.model import Config
from damon_exporter.config.reading import read
from damon_exporter.units import shown


def load(path: Path | None) -> Config:
    """The configuration in a file, or the default one without a file.

    Raises ConfigError with one line per problem: unreadable, not YAML, unknown keys, values out of bounds.
    """
    return check(read(path) if path else {})


def check(keys: Mapping[str, object]) -> Config:
    """The configuration that these keys make; ConfigError as for ``load``."""
    repeated = _repeated_names(keys.get("monitors"))
    try:
        config = Config.model_validate(keys, context=_rules_between_sections(keys))
    except ValidationError as error:
        raise ConfigError(repeated + problems(error)) from error
    if repeated:
        raise ConfigError(repeated)
    return config


def _rules_between_sections(keys: Mapping[str, object]) -> dict[str, object]:
    """What one section of the file allows in another."""
    kernel, kubernetes = keys.get("kernel"), keys.get("kubernetes")
    by_sysfs = isinstance(kernel, Mapping) and kernel.get("source") == "sysfs"
    return {
        "longest_aggregation_us": LONGEST_SYSFS_AGGREGATION_US if by_sysfs else LONGEST_AGGREGATION_US,
        "has_kubelet": isinstance(kubernetes, Mapping) and "kubelet_url" in kubernetes,
    }


def _repeated_names(monitors: object) -> list[str]:
    """Looked for among the plain keys, so that it is told beside whatever else is wrong with the monitors."""
    repeated = []
    first: dict[str, int] = {}
    for index, monitor in enumerate(monitors if isinstance(monitors, list) else ()):
        name = monitor.get("name") if isinstance(monitor, Mapping) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            repeated.append(
                f"monitors[{index}].name: {shown(name)} names monitors[{first[name]}] already; choose another"
            )
    return repeated
