"""Who names pods and containers, and that a whole exporter shows them by their names."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pytest
from containers.played_kubelet import AUTHORITY, Request, playing
from running import Running, path_flags
from vm.exporter import Metrics

from damon_exporter.config import Config
from damon_exporter.containers.named import Named
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.naming import container_names
from damon_exporter.testing.fake_kernel import FakeKernel

pytestmark = pytest.mark.xdist_group("naming")

MIB, GIB = 1 << 20, 1 << 30
APP, NEW_APP, PROXY = "0123456789abcdef" * 4, "fedcba9876543210" * 4, "00112233445566ff" * 4
SLICE = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod91a8fc3a_0ecf_48b4_81bf_78a7275d348c.slice"
CGROUP = {identifier: f"{SLICE}/cri-containerd-{identifier}.scope" for identifier in (APP, NEW_APP, PROXY)}


def link(rootfs: Path, identifier: str, container: str) -> None:
    """The kubelet links a container's log."""
    folder = rootfs / "var/log/containers"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"cart-7f_shop_{container}-{identifier}.log").symlink_to("/var/log/pods/somewhere")


def test_a_cgroup_is_named_by_the_links_below_the_hosts_root(tmp_path: Path) -> None:
    link(tmp_path, APP, "app")
    names = container_names(Config(), KernelPaths(rootfs=tmp_path), lambda: None)
    names.refresh(0.0)
    assert names.pod_of(CGROUP[APP]) == Named("shop", "cart-7f", "app")
    assert names.pod_of("/system.slice/sshd.service") == Named()
    assert names.errors == 0


# A whole exporter on a node whose kubelet hangs

CONFIG = """
kernel: {{settle: 0s}}
monitors:
- name: node
  operations: paddr
  ranges: [[4GiB, 5GiB]]
  intervals: {{sample: 5ms, aggregation: 100ms}}
- name: shop
  operations: vaddr
  intervals: {{sample: 1ms, aggregation: 20ms, update: 100ms}}
  processes: {{match: [{{pod: {{namespace: shop}}}}], group_by: "{{namespace}}/{{pod}}/{{container}}", refresh: 200ms}}
attribution: {{cgroups: ["/kubepods.slice/**"], interval: 1s, samples: 8192}}
export: {{publish: 100ms}}
kubernetes: {{kubelet_url: "{url}", ca_file: {authority}, token_file: {folder}/token}}
"""
TARGET = "shop/cart-7f/app"
LATE_SECONDS = 4.0
"""The kubelet is given up after 5 s: whatever waits for it is about that late."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was served while the kubelet did not answer, and after a container was restarted."""

    hanging: Metrics
    restarted: Metrics
    scrape_seconds: list[float]
    """How long each scrape took."""
    snapshot_seconds: list[float]
    """How old the last snapshot of memory was at each scrape."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder, answering = tmp_path_factory.mktemp("naming"), threading.Event()

    def hang(_: Request) -> None:
        answering.wait(60)

    with playing() as kubelet, FakeKernel(folder / "kernel") as kernel:
        kubelet.answer = hang
        configuration = CONFIG.format(url=kubelet.url, authority=AUTHORITY, folder=folder)
        (folder / "config.yaml").write_text(configuration)
        flags = (f"--config.file={folder / 'config.yaml'}", f"--path.rootfs={folder}", *path_flags(kernel.paths))
        start_container(kernel, folder, APP, "app", 42, 256)
        start_container(kernel, folder, PROXY, "proxy", 44, 128)
        give_memory(kernel, to={APP: 256, PROXY: 128})
        with Running(*flags) as running:
            watcher = Watcher(running)
            hanging = watcher.wait_for_app(mib=256)
            assert len(kubelet.requests) == 1
            kernel.remove_process(42)
            start_container(kernel, folder, NEW_APP, "app", 43, 64)
            give_memory(kernel, to={NEW_APP: 64, PROXY: 128})
            answering.set()  # or names would be read again only when it is given up
            yield Seen(hanging, watcher.wait_for_app(mib=64), watcher.scrape_seconds, watcher.snapshot_seconds)


def start_container(kernel: FakeKernel, rootfs: Path, identifier: str, name: str, pid: int, mib: int) -> None:
    """A container with one process."""
    link(rootfs, identifier, name)
    kernel.add_process(pid, "node", cgroup=CGROUP[identifier], rss=mib * MIB)


def give_memory(kernel: FakeKernel, *, to: dict[str, int]) -> None:
    """Give each container so many MiB of physical memory."""
    ends = [4 * GIB + mib * MIB for mib in accumulate(to.values())]
    owners = zip([4 * GIB, *ends], ends, to, strict=False)
    kernel.set_page_owners([(start, end, "anon", CGROUP[identifier]) for start, end, identifier in owners])


class Watcher:
    """Scrapes again and again."""

    def __init__(self, running: Running) -> None:
        self.scrape_seconds: list[float] = []
        self.snapshot_seconds: list[float] = []
        self._running = running
        assert running.port, "it serves"
        self._last = Metrics({})

    def wait_for_app(self, mib: int) -> Metrics:
        """Scrape until the app's processes and the app's cgroups are told to have about so much memory."""
        self._running.wait_for(lambda: self._scrape() == (mib, mib))
        return self._last

    def _scrape(self) -> tuple[int, int]:
        begun = time.monotonic()
        self._last = Metrics.parse(self._running.fetch("/metrics")[1])
        self.scrape_seconds.append(time.monotonic() - begun)
        if last := self._last.get("damon_last_snapshot_timestamp_seconds", monitor="node"):
            self.snapshot_seconds.append(time.time() - last)
        resident = self._last.get("damon_target_resident_bytes", target=TARGET) or 0
        charged = sum(self._last.all("damon_cgroup_access_band_bytes", container="app").values())
        return round(resident / MIB), round(charged / MIB / 8) * 8  # the borders are sampled


def series(scrape: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The series about targets and cgroups."""
    return {key for key in scrape.samples if key[0].startswith(("damon_target", "damon_cgroup"))}


def test_processes_and_memory_are_told_by_pod_and_container(seen: Seen) -> None:
    owner = {"namespace": "shop", "pod": "cart-7f", "container": "app"}
    assert seen.hanging.value("damon_target_info", target=TARGET, cgroup=CGROUP[APP], **owner) == 1
    for band in ("idle", "hot"):
        assert seen.hanging.get("damon_cgroup_access_band_bytes", cgroup="", band=band, **owner) is not None
    assert seen.hanging.value("damon_targets", monitor="shop") == 2


def test_a_container_that_is_restarted_goes_on_in_the_same_series_but_for_its_cgroup(seen: Seen) -> None:
    def without_info(scrape: Metrics) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        return {key for key in series(scrape) if key[0] != "damon_target_info"}

    assert without_info(seen.restarted) == without_info(seen.hanging)
    assert seen.restarted.value("damon_target_info", target=TARGET, cgroup=CGROUP[NEW_APP]) == 1


def test_a_kubelet_that_hangs_delays_neither_scrapes_nor_snapshots_nor_names_that_others_tell(seen: Seen) -> None:
    assert seen.hanging.value("damon_exporter_errors_total", operation="container_names") == 0, "it was not given up"
    assert max(seen.scrape_seconds) < LATE_SECONDS
    assert max(seen.snapshot_seconds) < LATE_SECONDS
