"""What a container is called in Kubernetes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Named:
    """Whose a cgroup is. ``container`` is "" in a pod outside its containers; all is "" if nobody names it (yet)."""

    namespace: str = ""
    pod: str = ""
    container: str = ""
    labels: Labels = field(default_factory=dict)


NO_POD = Named()

PodLookup = Callable[[str], Named]
"""Tells of a cgroup's path which container it is."""


def no_pod(_: str) -> Named:
    """Tell of no cgroup which container it is."""
    return NO_POD
