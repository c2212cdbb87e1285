"""What lookups meet: containers that nobody names, and the uids of pods whose containers somebody does."""

import threading
from collections.abc import Mapping

from damon_exporter.containers.cgroup_path import Container
from damon_exporter.containers.directory import Directory
from damon_exporter.containers.named import Named


class Encounters:
    """Told by the threads that look names up, asked by the one that reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unnamed: dict[str, Container] = {}
        self._unnamed_before: dict[str, Container] = {}
        self._pods: dict[str, tuple[str, Named]] = {}
        self.wanted = False
        """Has a container been met that nobody names, since this was set to False?"""

    def add_unnamed(self, container: Container) -> None:
        """Remember a container that nobody names."""
        with self._lock:
            self._unnamed[container.id] = container
            self.wanted = True

    def add_pod(self, container: Container, owner: Named | None) -> None:
        """Remember whose pod the container's is if the container has a name.

        Links name only containers: so the pod's sandbox is named, too, which has no log.
        """
        if owner:
            with self._lock:
                self._pods[container.pod_uid] = container.id, Named(owner.namespace, owner.pod)

    def pods_of(self, containers: Mapping[str, Named]) -> Directory:
        """Return the pods by uid of which a container that was met is among these, and forget the others."""
        with self._lock:
            self._pods = {uid: known for uid, known in self._pods.items() if known[0] in containers}
            return Directory(pods={uid: pod for uid, (_, pod) in self._pods.items()})

    def unnamed(self, directory: Directory) -> int:
        """Return how many containers have been met since `turn` but one that still nobody names."""
        with self._lock:
            met = {**self._unnamed_before, **self._unnamed}
        return sum(not directory.find(container) for container in met.values())

    def turn(self) -> None:
        """Forget who has not been met since the last turn."""
        with self._lock:
            self._unnamed_before, self._unnamed = self._unnamed, {}
