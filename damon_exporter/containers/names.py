"""Keeps the names of containers and pods, and says whose a cgroup is."""

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from damon_exporter.containers.cgroup_path import containers_on, made_by_root
from damon_exporter.containers.directory import Directory
from damon_exporter.containers.encounters import Encounters
from damon_exporter.containers.errors import NamesUnavailable
from damon_exporter.containers.kubelet import Kubelet
from damon_exporter.containers.log_links import read_log_links
from damon_exporter.containers.named import NO_POD, Named
from damon_exporter.repeating import Repeating

log = logging.getLogger(__name__)

REFRESH_SECONDS = 10.0
"""How often names are read."""

AGAIN_SECONDS = 2.0
"""How soon links are read again after a container was met that nobody names: its link comes a moment later than it."""

LONGEST_ABSENCE = 120.0
"""How long (s) the labels of pods stand without an answer of the kubelet."""


class ContainerNames:
    """Reads names in a thread of its own. Everybody may look them up; that never waits for a reading.

    The kubelet's names hold, and links fill the gaps. A name lasts one refresh longer than its source tells it, as a
    process may live a moment longer than its link. A source that fails changes nothing: ``errors`` counts that.
    ``pod_labels_seen`` maps (namespace, pod) to those of the kubelet's labels that are among ``pod_labels``.
    ``on_failure`` is that of `Repeating`.
    """

    def __init__(
        self,
        log_folder: Path,
        kubelet: Kubelet | None,
        pod_labels: Sequence[str] = (),
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._allowed = tuple(pod_labels)
        self._links = _Source(lambda: _Told(Directory(read_log_links(log_folder))))
        self._pods = _Source(lambda: _told_by(kubelet) if kubelet else _Told(Directory()))
        self._directory = Directory()
        self._met = Encounters()
        self._refresh_at = self._again_at = -math.inf
        self._thread = Repeating("container names", self._work, on_failure)
        self.errors = 0
        self.asked = False
        """Has every source been asked, whatever it has told?"""
        self.pod_labels_seen: Mapping[tuple[str, str], Mapping[str, str]] = {}

    @property
    def named(self) -> int:
        """How many containers have names."""
        return len(self._directory.containers)

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps a source from telling names now, with the cure."""
        return tuple(source.problem for source in (self._links, self._pods) if source.problem)

    @property
    def unnamed(self) -> int:
        """How many containers were met, since the last refresh but one, that nobody names."""
        return self._met.unnamed(self._directory)

    def pod_of(self, cgroup_path: str) -> Named:
        """Return whose this cgroup is; `NO_POD` for what is no container's, or if nobody tells its names (yet).

        See `cgroup_path.containers_on` for the path. Whoever may make cgroups may give them the name of any container:
        what lies in one, under whatever names, is that container's, and what others than root have made is nobody's.
        """
        containers = containers_on(made_by_root(cgroup_path))
        if not containers:
            return NO_POD
        directory, outermost = self._directory, containers[0]
        if outermost.pod_uid:
            self._met.add_pod(outermost, directory.containers.get(outermost.id))
        named = directory.find(outermost)
        if not named and outermost.id:
            self._met.add_unnamed(outermost)
        return named or NO_POD

    def start(self) -> None:
        """Begin to read names."""
        self._thread.start()

    def stop(self) -> None:
        """Stop at once, or, while the kubelet is being asked, when it has answered or taken too long."""
        self._thread.stop()

    def refresh(self, now: float) -> None:
        """Read what is due at ``now`` (CLOCK_MONOTONIC, s); links first, as the kubelet may take its time."""
        if now >= self._refresh_at:
            self._refresh_at = now + REFRESH_SECONDS
            self._met.turn()
            self._links.turn()
            self._pods.turn()
            self._read_links(now)
            self._read(self._pods, now)
            self.asked = True
        elif self._met.wanted and now >= self._again_at:
            self._read_links(now)

    def _read_links(self, now: float) -> None:
        self._again_at = now + AGAIN_SECONDS
        self._met.wanted = False
        self._read(self._links, now)

    def _read(self, source: "_Source", now: float) -> None:
        source.read(now)
        self.errors += bool(source.problem)
        known = self._links.known | self._pods.known
        self._directory = self._met.pods_of(known.containers) | known
        self._tell_labels(now)

    def _tell_labels(self, now: float) -> None:
        """Nothing is told of the labels of pods once the kubelet has been away for too long: many may have gone."""
        is_known = self._allowed and now - self._pods.told_at <= LONGEST_ABSENCE
        labels = self._pods.known.labels if is_known else {}
        self.pod_labels_seen = {pod: self._allowed_of(found) for pod, found in labels.items()}

    def _allowed_of(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        return {label: labels[label] for label in self._allowed if label in labels}

    def _work(self) -> float:
        self.refresh(time.monotonic())
        return AGAIN_SECONDS


@dataclass(frozen=True, slots=True)
class _Told:
    """What a source tells, what is wrong with the rest or "", and whether all names are in it all the same."""

    directory: Directory
    problem: str = ""
    whole: bool = True


def _told_by(kubelet: Kubelet) -> _Told:
    told = kubelet.pods()
    unlike = f"some are not as Kubernetes has them ({told.fault}); look at what answers there"
    problem = str(NamesUnavailable(kubelet.url, unlike)) if told.fault else ""
    return _Told(Directory.of_pods(told.pods), problem, told.whole)


class _Source:
    """What one source has told since the last refresh but one.

    ``ask`` raises `NamesUnavailable`. ``problem`` is what was wrong when it was last asked.
    """

    def __init__(self, ask: Callable[[], _Told]) -> None:
        self._ask = ask
        self._anew = False
        self._said: set[str] = set()
        self.problem = ""
        self.told_at = -math.inf
        self._now = self._before = self._whole = Directory()

    @property
    def known(self) -> Directory:
        return self._before | self._now

    def turn(self) -> None:
        """Let the next reading take the place of this one, which lasts until the next but one."""
        self._anew = True

    def read(self, now: float) -> None:
        """Take in what the source tells; if it fails, what it has told stands."""
        try:
            told = self._ask()
        except NamesUnavailable as error:
            self.problem = str(error)
        else:
            self.problem, self.told_at = told.problem, now
            if told.whole:
                self._whole = told.directory
            self._take_in(self._completed(told.directory))
        self._log()

    def _completed(self, told: Directory) -> Directory:
        """Return what is told with the names of when it was last whole.

        Not with labels, which are shown whoever is there.
        """
        return replace(self._whole, labels={}) | told

    def _take_in(self, told: Directory) -> None:
        if self._anew:
            self._before, self._now, self._anew = self._now, told, False
        else:
            self._now |= told

    def _log(self) -> None:
        """Say each problem once, and anew if there has been none meanwhile."""
        if not self.problem:
            self._said.clear()
        elif self.problem not in self._said:
            self._said.add(self.problem)
            log.warning("%s", self.problem)
