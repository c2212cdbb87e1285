"""The worked examples of docs/schemes.md are loaded, and run as they are."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from driving import Driven

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.testing.fake_kernel import FakeKernel

PAGE = (Path(__file__).parent.parent / "docs/schemes.md").read_text()
EXAMPLES = dict(re.findall(r"^### (.+?)\n.*?^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def test_there_are_five() -> None:
    assert len(EXAMPLES) == 5
    assert len(EXAMPLES) == PAGE.count("```yaml")


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_as_it_is(fake_kernel: Callable[..., FakeKernel], example: str) -> None:
    kernel = fake_kernel(kernel="7.3", enabled=["damon_stat"], numa_nodes=2)
    kernel.set_cgroups("/system.slice")
    kernel.add_process(100, "postgres")
    (monitor,) = check(parse(EXAMPLES[example])).monitors
    with Driven(kernel.paths, EXAMPLES[example].replace("kernel: {", "kernel: {settle: 0s, ")) as driven:
        driven.look()
        shown = [kernel.read(f"0/contexts/0/schemes/{i}/action") for i, _ in enumerate(monitor.schemes, start=1)]
        assert list(driven.own) == [monitor.name], driven.waiting
        assert shown == [scheme.action for scheme in monitor.schemes]


def test_only_the_one_that_counts_needs_no_permission() -> None:
    allowed = {name for name, text in EXAMPLES.items() if check(parse(text)).kernel.allow_actions}
    assert allowed == EXAMPLES.keys() - {"Counting only"}
