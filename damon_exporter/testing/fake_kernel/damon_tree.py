"""The folders of /sys/kernel/mm/damon/admin with their defaults, each file with the release that brought it."""

from collections.abc import Callable

from damon_exporter.testing.fake_kernel.layout import Layout, folder, sint, uint
from damon_exporter.testing.fake_kernel.profile import Profile
from damon_exporter.testing.fake_kernel.scheme_tree import SchemeLayout
from damon_exporter.testing.fake_kernel.tree import Directory, text_file
from damon_exporter.testing.fake_kernel.values import Choice, Flag, Number, Text

OPERATIONS = ("vaddr", "fvaddr", "paddr")
MOST_PROBES = 4


class ContextLayout(Layout):
    """``contexts/0``; ``schemes`` makes what is below its folder of schemes."""

    def __init__(self, profile: Profile, refuse: Callable[[], None]) -> None:
        super().__init__(profile, refuse)
        self.schemes = SchemeLayout(profile, refuse)

    def context(self) -> Directory:
        """``contexts/0``."""
        return folder(
            avail_operations=text_file("".join(f"{name}\n" for name in OPERATIONS), mode=0o400),
            operations=Choice(*OPERATIONS),
            addr_unit=self.since("6.18", Number(1)),
            pause=self.since("7.2", Flag()),
            monitoring_attrs=self.monitoring_attrs(),
            targets=self.numbered("nr_targets", self.target),
            schemes=self.numbered("nr_schemes", self.schemes.scheme),
        )

    def monitoring_attrs(self) -> Directory:
        """Intervals in microseconds, and how many regions."""
        goal = folder(access_bp=Number(), aggrs=Number(), min_sample_us=Number(), max_sample_us=Number())
        return folder(
            intervals=folder(
                sample_us=Number(5_000),
                aggr_us=Number(100_000),
                update_us=Number(60_000_000),
                intervals_goal=self.since("6.15", goal),
            ),
            nr_regions=folder(min=Number(10), max=Number(1000)),
            probes=self.since("7.2", self.numbered("nr_probes", self.probe, MOST_PROBES)),
        )

    def probe(self) -> Directory:
        """``probes/P``."""
        return folder(
            weight=self.since("7.3", uint()),
            filters=self.numbered("nr_filters", self.probe_filter),
        )

    def probe_filter(self) -> Directory:
        """``probes/P/filters/F``."""
        return folder(type=Choice("anon", "memcg"), matching=Flag(), allow=Flag(), path=Text(self.refuse))

    def target(self) -> Directory:
        """``targets/T``."""
        return folder(
            pid_target=sint(),
            obsolete_target=self.since("6.19", Flag()),
            regions=self.numbered("nr_regions", lambda: folder(start=Number(), end=Number())),
        )
