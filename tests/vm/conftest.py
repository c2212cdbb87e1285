"""Guests for scenarios: each series is booted once, when the first test wants it, and shared by all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from booted import kernels_booted

from .exporter import free_damon
from .guest import Guest
from .kernels import SERIES, find_kernel

FIRST_RUN_TIMEOUT = 900
"""Seconds for a test that may have to fetch a kernel, pack the root image and boot."""


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        if _is_here(item):
            item.add_marker("vm")
            # Emulated guests share the host's cores with all other tests: a stall there is no fault of ours.
            item.add_marker(pytest.mark.flaky(reruns=1))
            item.add_marker(pytest.mark.xdist_group(_group(item)))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(FIRST_RUN_TIMEOUT))


def _turn(item: pytest.Item) -> int:
    """First what waits a lot, so that others may use the processor meanwhile; guests of their own come last."""
    if not _is_here(item):
        return 1
    return 2 if _group(item) == "alone" else 0


def _is_here(item: pytest.Item) -> bool:
    return item.path.is_relative_to(Path(__file__).parent)


def _group(item: pytest.Item) -> str:
    """The shared guest that the test runs on: each is booted by one worker. Tests that need none are a group, too."""
    fixtures = getattr(item, "fixturenames", ())
    if "guest" in fixtures:
        return str(item.callspec.params["guest"])  # type: ignore[attr-defined] - it is a parametrised function
    if "guest_612" in fixtures:
        return "6.12"
    return "7.3" if "guest_73" in fixtures else "alone"


class Guests:
    """The guests of a test run, booted as they are wanted."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._guests: dict[str, Guest] = {}

    def get(self, series: str) -> Guest:
        """The guest of a series; the first use boots it, and the next after it did not answer boots another.

        What a guest does of which no answer came, nobody knows: it may hold DAMON and the port of every later test.
        """
        if series in self._guests and self._guests[series].lost:
            self._guests.pop(series).close()
        if series not in self._guests:
            kernel = find_kernel(series)
            self._config.stash[kernels_booted] += [f"{series}: {kernel.release}", *kernel.notices]
            self._guests[series] = Guest(kernel, modules=("zram",))
        return self._guests[series]

    def tidy(self) -> None:
        """End what a test that failed has left running: the next one wants the same ports."""
        for guest in self._guests.values():
            if not guest.lost:
                guest.stop_all()

    def close(self) -> None:
        """End all of them."""
        for guest in self._guests.values():
            guest.close()


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> Iterator[Guests]:
    """All guests of this worker."""
    guests = Guests(request.config)
    yield guests
    guests.close()


@pytest.fixture(autouse=True)
def tidy(guests: Guests) -> Iterator[None]:
    """Leave no process of a test's in any guest."""
    yield
    guests.tidy()


@pytest.fixture(params=SERIES)
def guest(request: pytest.FixtureRequest, guests: Guests) -> Guest:
    """The test runs on every series."""
    return guests.get(request.param)


@pytest.fixture(scope="session")
def shown() -> dict[object, Any]:
    """What the scenarios of this worker have shown."""
    return {}


@pytest.fixture
def show(request: pytest.FixtureRequest, guest: Guest, shown: dict[object, Any]) -> Callable[..., Any]:
    """Play a scenario once for all tests that look at it, and anew for the second try of one that failed."""

    def play(scenario: Callable[[Guest], Any]) -> Any:
        if (scenario, guest) not in shown or getattr(request.node, "execution_count", 1) > 1:
            shown[scenario, guest] = scenario(guest)
        return shown[scenario, guest]

    return play


@pytest.fixture
def free(guest: Guest) -> Guest:
    """A guest whose DAMON nobody uses."""
    free_damon(guest)
    return guest


@pytest.fixture
def guest_612(guests: Guests) -> Guest:
    """A kernel where DAMON is free after boot."""
    return guests.get("6.12")


@pytest.fixture
def guest_73(guests: Guests) -> Guest:
    """A kernel where DAMON_STAT runs from boot."""
    return guests.get("7.3")
