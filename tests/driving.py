"""A supervisor driven by hand against a fake kernel: every look is a call, and the time is what the test says."""

from damon_exporter.config.loading import check
from damon_exporter.config.reading import parse
from damon_exporter.kernel.paths import KernelPaths
from damon_exporter.roster import Roster, Waiting, Watched
from damon_exporter.supervisor import Supervisor

SETTLED = "kernel: {settle: 0s}\n"
PHYSICAL = SETTLED + "monitors: [{name: node, operations: paddr, intervals: {sample: 5ms, aggregation: 100ms}}]\n"


class Driven:
    """Control as an exporter has it, without its threads. Leaving the context ends it as SIGTERM does."""

    def __init__(self, paths: KernelPaths, configuration: str = PHYSICAL, *, sysfs_source: bool = False) -> None:
        self.supervisor = Supervisor(check(parse(configuration)), paths, sysfs_source, on_failure=lambda: None)
        self.now = 1000.0

    def __enter__(self) -> "Driven":
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.end()

    def look(self, after: float = 2.0) -> Roster:
        """Look once, so many seconds after the look before."""
        self.now += after
        self.supervisor.tick(self.now)
        return self.supervisor.roster

    def look_for(self, seconds: float, every: float = 2.0) -> Roster:
        """Look again and again for a while."""
        end = self.now + seconds
        while self.now < end:
            self.look(every)
        return self.supervisor.roster

    @property
    def own(self) -> dict[str, Watched]:
        """Our monitors that run."""
        return {kdamond.name: kdamond for kdamond in self.supervisor.roster.watched if kdamond.owner == "exporter"}

    @property
    def waiting(self) -> dict[str, str]:
        """Our monitors that do not run, and why."""
        return {waiting.name: waiting.reason for waiting in self.supervisor.roster.waiting}

    def describe(self, name: str) -> Watched | Waiting:
        """What the roster says of one monitor."""
        roster = self.supervisor.roster
        return next(found for found in (*roster.watched, *roster.waiting) if found.name == name)
