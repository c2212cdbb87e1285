"""Who is being watched: what the supervisor knows, handed to the sampler as one immutable value."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

from damon_exporter.analysis.snapshot import Intervals
from damon_exporter.kernel.procfs import Identity
from damon_exporter.kernel.scheme_stats import ShownScheme
from damon_exporter.state import NOBODYS, Owner

PHYSICAL = "physical"


@dataclass(frozen=True, slots=True)
class WatchedProcess:
    """A process that a monitor's selectors match, under the name of its group."""

    pid: int
    start_ticks: int
    name: str
    owner: Owner = NOBODYS

    @property
    def identity(self) -> Identity:
        """What tells it from a later process with its pid."""
        return self.pid, self.start_ticks


@dataclass(frozen=True, slots=True)
class ListedTarget:
    """One of a kdamond's targets; its index in DAMON's list is its place here.

    ``name`` is the target label, None if nothing is to be told of it: its process has left. What aggregations that
    ended before ``since_ns`` (CLOCK_MONOTONIC) tell is not of it. ``process`` is None for other people's targets.
    """

    name: str | None
    process: WatchedProcess | None = None
    since_ns: int = 0
    resident_bytes: int = 0

    @property
    def identity(self) -> Identity | None:
        """Which process it is; None for other people's targets."""
        return self.process.identity if self.process else None


def listed(*names: str) -> tuple[ListedTarget, ...]:
    """Return targets of which only the names are known."""
    return tuple(ListedTarget(name) for name in names)


@dataclass(frozen=True, slots=True)
class WatchedScheme:
    """One scheme, under the label by which it is exported.

    ``counted`` says that its counters are of now: without `refresh_ms` the files of other people's schemes show what
    they did when somebody asked last. ``active`` is None while that is not known.
    """

    label: str
    shown: ShownScheme
    counted: bool = True
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A kdamond that runs. ``targets`` are by index, None where their owner does not tell us.

    ``intervals`` are those of files and parameters; if ``tuned``, the kernel changes them, and the files follow
    only if ``refreshed``. ``reporting`` says that silence is a fault: the module DAMON_RECLAIM, say, may sleep.
    ``dropped`` is how many processes match and are left out, None where none are matched. ``addr_unit`` is how many
    bytes one unit of its regions' addresses stands for. ``schemes`` is None while somebody has other ones in their
    place. What files show may be written and not committed: it is in force since ``in_force_since_ns``
    (CLOCK_MONOTONIC), None if only regions tell. ``inherited_at``: what its schemes had counted by then
    (CLOCK_MONOTONIC, s), when this monitor got it, is not this monitor's.
    """

    name: str
    operations: str
    owner: str
    pid: int
    targets: tuple[ListedTarget, ...] | None
    intervals: Intervals | None
    max_nr_accesses: int | None
    tuned: bool
    refreshed: bool
    reporting: bool
    restarts: int = 0
    slot: int | None = None
    dropped: int | None = None
    addr_unit: int = 1
    schemes: tuple[WatchedScheme, ...] | None = ()
    in_force_since_ns: int | None = None
    inherited_at: float | None = None

    @property
    def living(self) -> tuple[ListedTarget, ...]:
        """The targets of which something is to be told."""
        return tuple(target for target in self.targets or () if target.name is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those, several times if several processes are one group."""
        return tuple(target.name for target in self.targets or () if target.name is not None)

    @property
    def processes(self) -> tuple[Identity, ...]:
        """The processes that are targets."""
        return tuple(target.identity for target in self.living if target.identity)

    def without(self, ended: Set[Identity]) -> "Watched":
        """Return it without the processes that have ended since."""
        if not self.targets or ended.isdisjoint(self.processes):
            return self
        rest = (replace(target, name=None) if target.identity in ended else target for target in self.targets)
        return replace(self, targets=tuple(rest))


@dataclass(frozen=True, slots=True)
class Waiting:
    """A configured monitor that does not run, and why.

    ``dropped`` is how many processes match and are left out, None where none are matched or nobody looks now.
    """

    name: str
    operations: str
    reason: str
    restarts: int = 0
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """Everything that the supervisor tells.

    ``blocked`` maps one of `state.CONTROL_BLOCKED_REASONS` to a sentence. ``looked_at`` is when the look at the
    kernel began (CLOCK_MONOTONIC, s): a kdamond that was heard of later may be missing.
    """

    looked_at: float = 0.0
    watched: tuple[Watched, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    blocked: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, bool] = field(default_factory=dict)

    def identify(self, pid: int, heard_at: float) -> Watched | None:
        """Return the kdamond with this pid, None while that is not known.

        Before 7.2 no file tells DAMON_STAT's pid. Modules exclude all other users, so a kdamond that no slot
        claims belongs to the one that is enabled, if we have looked since it was first heard of.
        """
        for kdamond in self.watched:
            if kdamond.pid == pid:
                return kdamond
        nameless = [kdamond for kdamond in self.watched if kdamond.pid == 0]
        if len(nameless) == 1 and self.looked_at > heard_at:
            return replace(nameless[0], pid=pid)
        return None
