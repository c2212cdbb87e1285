"""`python -m damon_exporter` is `damon-exporter`."""

from damon_exporter.cli import main

main()
