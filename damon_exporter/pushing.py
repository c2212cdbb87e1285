"""Whether metrics are pushed by OTLP, and whether that can be: the extra is there, and the environment makes sense."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from damon_exporter.config import ConfigError, Otlp
from damon_exporter.metrics.collected import Collected
from damon_exporter.published import Published


def make_push(
    otlp: Otlp | None, published: Published, collected: Collected, on_failure: Callable[[], None]
) -> AbstractContextManager[object]:
    """Return what pushes while it is entered, if anything is to; raises `ConfigError` if that cannot be."""
    if otlp is None:
        return nullcontext()
    check_push(otlp)
    from damon_exporter.push import Push

    return Push(otlp.endpoint, otlp.interval, published, collected, on_failure)


def check_push(otlp: Otlp) -> None:
    """Raise `ConfigError` for what would keep every push from being made, whatever the receiver is."""
    try:
        from damon_exporter import otlp_variables, push  # noqa: F401 - push needs the most
    except ImportError as error:
        raise ConfigError([f"otlp: {error.name} is not installed; pip install 'damon-exporter[otlp]'"]) from error
    if problems := list(otlp_variables.problems(otlp.endpoint)):
        raise ConfigError([f"otlp: {problem}" for problem in problems])
