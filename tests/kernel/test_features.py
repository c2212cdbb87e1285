"""What a kernel and its permissions allow, told by its files alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from damon_exporter.kernel import features
from damon_exporter.kernel.damon_sysfs import DamonTree
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.testing.fake_kernel import FakeKernel

Start = Callable[..., FakeKernel]

AS_NOBODY = """
import os
from pathlib import Path
from damon_exporter.kernel import features
from damon_exporter.kernel.paths import KernelPaths
os.setresuid(65534, 65534, 65534)  # the folders above the working one may be forbidden then
paths = KernelPaths(Path("sys"), Path("proc"), Path("sys/kernel/tracing"))
print(*(feature.name for feature in features.probe(paths) if feature.present))
"""


def present(paths: KernelPaths) -> set[str]:
    return {feature.name for feature in features.probe(paths) if feature.present}


@pytest.mark.parametrize(("name", "more"), [("6.12", set()), ("7.3", {"damon_monitor_intervals_tune", "damon_stat"})])
def test_each_kernel_has_what_its_files_show(fake_kernel: Start, name: str, more: set[str]) -> None:
    common = {
        "damon_sysfs",
        "damon_sysfs_write",
        "damon_aggregated",
        "trace_instances",
        "damon_reclaim",
        "damon_lru_sort",
    }
    assert present(fake_kernel(kernel=name).paths) == common | more


@pytest.mark.parametrize(("name", "tunes"), [("6.12", False), ("7.3", True)])
def test_a_slot_tells_what_kdamonds_can_do(fake_kernel: Start, name: str, tunes: bool) -> None:
    kernel = fake_kernel(kernel=name)
    kernel.write("nr_kdamonds", 1)
    kernel.write("0/contexts/nr_contexts", 1)
    kernel.write("0/contexts/0/schemes/nr_schemes", 1)
    assert features.slot_features(DamonTree(kernel.paths.damon_admin).slot(0)) == {
        "intervals_goal": tunes,
        "refresh_ms": tunes,
        "tried_regions": True,
        "target_filters": True,
    }


def test_looking_makes_nothing(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3")
    features.probe(kernel.paths)
    assert kernel.read("nr_kdamonds") == "0"
    assert list((kernel.tracefs / "instances").iterdir()) == []


def test_nothing_is_there_where_nothing_is_mounted(tmp_path: Path) -> None:
    assert present(KernelPaths(tmp_path, tmp_path, tmp_path)) == set()


def test_every_feature_has_a_cure(tmp_path: Path) -> None:
    assert all(feature.cure and feature.detail for feature in features.probe(KernelPaths(tmp_path, tmp_path, tmp_path)))


def test_forbidden_folders_are_a_no_and_no_error(fake_kernel: Start) -> None:
    kernel = fake_kernel(kernel="7.3")
    found = subprocess.run([sys.executable, "-c", AS_NOBODY], cwd=kernel.root, stdout=subprocess.PIPE, check=True)
    assert set(found.stdout.decode().split()) == {"damon_sysfs", "damon_reclaim", "damon_lru_sort", "damon_stat"}
