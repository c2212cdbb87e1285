"""The roots below which the kernel is looked at; a folder of files in their place is a test double."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class KernelPaths:
    """Where sysfs, procfs and tracefs are mounted (``--path.sysfs`` and so on), and the host's own root."""

    sysfs: Path = Path("/sys")
    procfs: Path = Path("/proc")
    tracefs: Path = Path("/sys/kernel/tracing")
    rootfs: Path = Path("/")

    @property
    def damon_admin(self) -> Path:
        """The root of DAMON's control tree."""
        return self.sysfs / "kernel/mm/damon/admin"

    @property
    def container_logs(self) -> Path:
        """The folder in which the kubelet links the logs of its containers, by names that say whose they are."""
        return self.rootfs / "var/log/containers"

    def module_parameters(self, module: str) -> Path:
        """The folder of a DAMON module's parameters, there only if the module is built in."""
        return self.sysfs / f"module/{module}/parameters"
