"""What a kernel offers for schemes is found out by trying, and nothing stays of that."""

from collections.abc import Callable

import pytest
from driving import everything, on_both

from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.plan import skeleton
from damon_exporter.kernel.scheme_features import SINCE, missing, offers
from damon_exporter.testing.fake_kernel import FakeKernel


def made(kernel: FakeKernel) -> DamonTree:
    """A slot with a scheme."""
    tree = DamonTree(kernel.paths.damon_admin)
    tree.resize(1)
    tree.slot(0).write(skeleton(1))
    return tree


def until(release: str) -> frozenset[str]:
    major, minor = map(int, release.split("."))
    return frozenset(key for key, (_, since) in SINCE.items() if tuple(map(int, since.split("."))) <= (major, minor))


@pytest.mark.parametrize("release", ["6.12", "7.3"])
def test_a_kernel_offers_what_came_with_it_or_before(fake_kernel: Callable[..., FakeKernel], release: str) -> None:
    kernel = fake_kernel(kernel=release)
    assert offers(made(kernel).slot(0)) == until(release)


@on_both
def test_what_was_tried_is_put_back(kernel: FakeKernel) -> None:
    tree = made(kernel)
    before = everything(kernel)
    offers(tree.slot(0))
    assert everything(kernel) == before


def test_what_is_missing_is_said_with_the_release_that_brought_it() -> None:
    needs = ["action=collapse", "quotas/goal_tuner=temporal", "action=stat", "action=collapse"]
    assert missing(iter(needs), until("6.12")) == "the action collapse (Linux 7.2), the goal tuner temporal (Linux 7.1)"
    assert missing(iter(needs), until("7.3")) is None
