"""kdamonds/K: the files ``state``, ``pid`` and ``refresh_ms`` of one kdamond, and what is staged below it."""

import errno
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from damon_exporter.testing.fake_kernel.commands import COMMANDS
from damon_exporter.testing.fake_kernel.kdamond import Kdamond
from damon_exporter.testing.fake_kernel.parameters import Context, Surroundings, read_context
from damon_exporter.testing.fake_kernel.scheme_parameters import read_goals
from damon_exporter.testing.fake_kernel.schemes import AppliedScheme
from damon_exporter.testing.fake_kernel.staged import items, number
from damon_exporter.testing.fake_kernel.tree import Directory, File, fail
from damon_exporter.testing.fake_kernel.values import Number, Numbered, Result

if TYPE_CHECKING:
    from damon_exporter.testing.fake_kernel.damon_sysfs import DamonSysfs
    from damon_exporter.testing.fake_kernel.kernel import Kernel


class State(File):
    """The file ``state``."""

    may_wait = True


class Slot(Directory):
    """One numbered folder below ``kdamonds``. ``kdamond`` is the last one started here, even if it has ended."""

    def __init__(self, kernel: "Kernel", sysfs: "DamonSysfs") -> None:
        self.kernel = kernel
        self.sysfs = sysfs
        self.kdamond: Kdamond | None = None
        super().__init__(
            {
                "state": State(self._read_state, self._write_state, mode=0o600),
                "pid": File(self._read_pid, mode=0o400),
                "contexts": Numbered("nr_contexts", sysfs.layout.context, sysfs.refuse_while_locked, most=1),
            }
        )
        if kernel.profile.since("6.17"):
            self.add("refresh_ms", Number(bits=32))

    @property
    def running(self) -> bool:
        """Whether a kdamond of this slot is at work."""
        return self.kdamond is not None and self.kdamond.alive

    def _read_state(self) -> str:
        self.sysfs.refuse_while_locked()
        return "on\n" if self.running else "off\n"

    def _read_pid(self) -> str:
        self.sysfs.refuse_while_locked()
        return f"{self.kdamond.pid if self.kdamond else -1}\n"

    def _write_state(self, text: str) -> None:
        """One command. The lock is tried first; then EINVAL for an unknown word, and for a slot without context."""
        self.sysfs.refuse_while_locked()
        word = text.removesuffix("\n")
        command = COMMANDS.get(word)
        if command is None or not self.kernel.profile.since(command.since):
            raise fail(errno.EINVAL)
        if word != "off" and not items(self, "contexts"):
            raise fail(errno.EINVAL)
        command.run(self)

    @property
    def started(self) -> Kdamond:
        """The last kdamond, even if it has ended. EINVAL if there never was one."""
        if self.kdamond is None:
            raise fail(errno.EINVAL)
        return self.kdamond

    @property
    def staged(self) -> Directory:
        """The folder ``contexts/0``."""
        return self.get("contexts/0", Directory)

    def read_staged(self) -> Context:
        """What is staged, checked as `on` and `commit` do."""
        return read_context(self.staged, Surroundings(self.kernel.processes.exists, self.kernel.cgroups.find))

    def turn_on(self) -> None:
        """damon_sysfs_turn_damon_on(). The context of the kdamond before is gone even if this fails."""
        if self.running:
            raise fail(errno.EBUSY)
        self.kdamond = None
        self.kdamond = self.kernel.core.start(self.read_staged(), exclusive=False)
        self.kdamond.repeat = self._refresh
        self.kdamond.repeat_ms = self._refresh_ms

    def turn_off(self) -> None:
        """damon_sysfs_turn_damon_off(): EINVAL if none was ever started; one that ended by itself: EPERM before 7.3."""
        if not self.started.alive and not self.kernel.profile.since("7.3"):
            raise fail(errno.EPERM)
        self.started.stop()

    def _refresh_ms(self) -> int:
        return number(self, "refresh_ms")

    def _refresh(self) -> None:
        """damon_sysfs_repeat_call_fn(), skipped while the lock is taken. tried_regions are not refreshed."""
        if not self.sysfs.locked and items(self, "contexts"):
            self.update_tuned_intervals()
            self.update_stats()
            self.update_effective_quotas()

    def update_tuned_intervals(self) -> None:
        """Show the intervals in force in the files that the user wrote."""
        intervals = self.staged.get("monitoring_attrs/intervals", Directory)
        for name in ("sample_us", "aggr_us"):
            intervals.get(name, Number).value = getattr(self.started.attributes, name)

    def update_stats(self) -> None:
        """Copy the counters of scheme i to folder i, as far as there is one."""
        for folder, scheme in self._schemes():
            stats = folder.get("stats", Directory)
            for name, value in vars(scheme.stats).items():
                if name in stats.children:
                    stats.get(name, Result).value = value

    def update_effective_quotas(self) -> None:
        """damos_sysfs_update_effective_quotas(): copy the quotas in force."""
        for folder, scheme in self._schemes():
            folder.get("quotas/effective_bytes", Result).value = scheme.charging.effective

    def commit_goals(self) -> None:
        """damos_sysfs_set_quota_scores(): take the goals alone from the files. EINVAL for a cgroup that is gone."""
        for folder, running in self._schemes():
            goals = read_goals(folder, self.kernel.cgroups.find)
            running.scheme = replace(running.scheme, quota=replace(running.scheme.quota, goals=goals))

    def _schemes(self) -> Iterable[tuple[Directory, AppliedScheme]]:
        """The folders of schemes and the schemes of the kdamond, by index, as far as there are both."""
        return zip(items(self.staged, "schemes"), self.started.damos.schemes, strict=False)
