"""Guests for scenarios: each series is booted once, when the first test wants it, and shared by all."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from .guest import Guest
from .kernels import SERIES, Kernel, find_kernel

FIRST_RUN_TIMEOUT = 300
"""Seconds for a test that may have to fetch a kernel, pack the root image and boot."""

kernels_used = pytest.StashKey[dict[str, Kernel]]()


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]):
            item.add_marker("vm")
            # Emulated guests share the host's cores with all other tests: a stall there is no fault of ours.
            item.add_marker(pytest.mark.flaky(reruns=1))
            item.add_marker(pytest.mark.xdist_group(_series(item)))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(FIRST_RUN_TIMEOUT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = config.stash.get(kernels_used, {})
    if used:
        terminalreporter.section("real kernels")
    for kernel in used.values():
        terminalreporter.write_line(f"{kernel.series}: {kernel.release}")
        for notice in kernel.notices:
            terminalreporter.write_line(f"WARNING {notice}", yellow=True, bold=True)


def _series(item: pytest.Item) -> str:
    """The kernel that the test runs on; each is booted by one worker."""
    fixtures = getattr(item, "fixturenames", ())
    if "guest" in fixtures:
        return str(item.callspec.params["guest"])  # type: ignore[attr-defined] - it is a parametrised function
    return "6.12" if "guest_612" in fixtures else "7.3"


class Guests:
    """The guests of a test run, booted side by side as they are wanted."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._boots = ThreadPoolExecutor(max_workers=len(SERIES), thread_name_prefix="boot")
        self._guests: dict[str, Future[Guest]] = {}

    def start(self, series: str) -> Future[Guest]:
        """Begin to boot a series, unless that was done."""
        if series not in self._guests:
            self._guests[series] = self._boots.submit(self._boot, series)
        return self._guests[series]

    def _boot(self, series: str) -> Guest:
        kernel = find_kernel(series)
        self._config.stash.setdefault(kernels_used, {})[series] = kernel
        return Guest(kernel)

    def close(self) -> None:
        """End all of them."""
        self._boots.shutdown()
        for boot in self._guests.values():
            if boot.exception() is None:
                boot.result().close()


def _series_wanted(items: list[pytest.Item]) -> set[str]:
    calls = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return {str(parameters["guest"]) for parameters in calls if "guest" in parameters}


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """All guests; the first use starts to boot every series that a selected test will want."""
    guests = Guests(request.config)
    for series in sorted(_series_wanted(request.session.items)):
        guests.start(series)
    yield guests
    guests.close()


@pytest.fixture(scope="session", params=SERIES)
def guest(request: pytest.FixtureRequest, guests: Guests) -> Guest:
    """The test runs on every series."""
    return guests.start(request.param).result()


@pytest.fixture(scope="session")
def guest_612(guests: Guests) -> Guest:
    """A kernel where DAMON is free after boot."""
    return guests.start("6.12").result()


@pytest.fixture(scope="session")
def guest_73(guests: Guests) -> Guest:
    """A kernel where DAMON_STAT runs from boot."""
    return guests.start("7.3").result()
