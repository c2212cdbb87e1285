"""Who is who: containers by id and pods by uid, from several sources in one immutable value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from damon_exporter.containers.cgroup_path import Container
from damon_exporter.containers.named import Labels, Named
from damon_exporter.containers.pods import Pod


@dataclass(frozen=True, slots=True)
class Directory:
    """What sources tell: containers by id, pods by the uid in their cgroups, and labels by (namespace, pod)."""

    containers: Mapping[str, Named] = field(default_factory=dict)
    pods: Mapping[str, Named] = field(default_factory=dict)
    labels: Mapping[tuple[str, str], Labels] = field(default_factory=dict)

    @classmethod
    def of_pods(cls, pods: Iterable[Pod]) -> Self:
        """What a kubelet tells."""
        containers: dict[str, Named] = {}
        by_uid: dict[str, Named] = {}
        labels: dict[tuple[str, str], Labels] = {}
        for pod in pods:
            for identifier, name in pod.containers.items():
                containers[identifier] = Named(pod.namespace, pod.name, name)
            by_uid.update(dict.fromkeys(pod.cgroup_uids, Named(pod.namespace, pod.name)))
            labels[pod.namespace, pod.name] = pod.labels
        return cls(containers, by_uid, labels)

    def __or__(self, other: Self) -> Self:
        """Both together; where they differ, ``other`` is right."""
        return type(self)(
            {**self.containers, **other.containers}, {**self.pods, **other.pods}, {**self.labels, **other.labels}
        )

    def find(self, container: Container) -> Named | None:
        """Return whose it is, by its own id or by its pod's uid; None if it has no name.

        Only what lies in a pod's cgroup has a name in Kubernetes.
        """
        owner = (self.containers.get(container.id) or self.pods.get(container.pod_uid)) if container.pod_uid else None
        return owner and replace(owner, labels=self.labels.get((owner.namespace, owner.pod), {}))
