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
        self._pods: dict[str, Named] = {}
        self.wanted = False
        """Has a container been met that nobody names, since this was set to False?"""

    def add_unnamed(self, container: Container) -> None:
        """Remember a container that nobody names."""
        with self._lock:
            self._unnamed[container.id] = container
            self.wanted = True

    def add_pod(self, uid: str, owner: Named | None) -> None:
        """Remember whose pod this uid is if the container that is met there has a name.

        Links name only containers: so the pod's sandbox is named, too, which has no log.
        """
        if owner:
            with self._lock:
                self._pods[uid] = Named(owner.namespace, owner.pod)

    def pods_of(self, containers: Mapping[str, Named]) -> Directory:
        """Return the pods by uid that have one of these containers, and forget the others."""
        live = {(owner.namespace, owner.pod) for owner in containers.values()}
        with self._lock:
            self._pods = {uid: pod for uid, pod in self._pods.items() if (pod.namespace, pod.pod) in live}
            return Directory(pods=self._pods.copy())

    def unnamed(self, directory: Directory) -> int:
        """Return how many containers have been met since `turn` but one that still nobody names."""
        with self._lock:
            met = {**self._unnamed_before, **self._unnamed}
        return sum(not directory.find(container) for container in met.values())

    def turn(self) -> None:
        """Forget who has not been met since the last turn."""
        with self._lock:
            self._unnamed_before, self._unnamed = self._unnamed, {}
