"""Who tells on this host whose a cgroup is, as the configuration has it."""

from collections.abc import Callable

from damon_exporter.config import Config
from damon_exporter.containers.directory import Named
from damon_exporter.containers.kubelet import Kubelet
from damon_exporter.containers.names import ContainerNames
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.state import Owner


def container_names(config: Config, paths: KernelPaths, on_failure: Callable[[], None]) -> ContainerNames:
    """Return what names containers and pods: links on this host, and its kubelet if that is configured."""
    asked = config.kubernetes
    kubelet = Kubelet(asked.kubelet_url, asked.token_file, asked.ca_file) if asked else None
    return ContainerNames(paths.container_logs, kubelet, asked.pod_labels if asked else (), on_failure)


def owners(names: ContainerNames) -> Callable[[str], Owner]:
    """Return what tells of a cgroup's path whose it is."""

    def owner_of(path: str) -> Owner:
        named = names.owner_of(path) or Named()
        return Owner(path, named.namespace, named.pod, named.container)

    return owner_of
