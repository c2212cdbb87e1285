"""How much of this memory is really used? Linux DAMON as Prometheus metrics."""

__version__ = "0.1.0"
