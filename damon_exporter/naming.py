"""Who names pods and containers on this host, as the configuration has it."""

from collections.abc import Callable

from damon_exporter.config import Config
from damon_exporter.containers.kubelet import Kubelet
from damon_exporter.containers.names import ContainerNames
from damon_exporter.kernel.paths import KernelPaths


def container_names(config: Config, paths: KernelPaths, on_failure: Callable[[], None]) -> ContainerNames:
    """Return what names containers and pods: links on this host, and its kubelet if that is configured."""
    asked = config.kubernetes
    kubelet = Kubelet(asked.kubelet_url, asked.token_file, asked.ca_file) if asked else None
    return ContainerNames(paths.container_logs, kubelet, asked.pod_labels if asked else (), on_failure)
