"""The folders of /sys/kernel/mm/damon/admin with their defaults, each file with the release that brought it."""

from collections.abc import Callable

from damon_exporter.testing.fake_kernel.profile import Profile
from damon_exporter.testing.fake_kernel.tree import Directory, Node, text_file
from damon_exporter.testing.fake_kernel.values import Choice, Flag, Number, Numbered, Result, Text

OPERATIONS = ("vaddr", "fvaddr", "paddr")
MOST_PROBES = 4
UINT_BITS = 32
NO_NODE = -1


class Layout:
    """Makes the folders as one kernel has them. ``refuse`` raises EBUSY while DAMON's lock is taken."""

    def __init__(self, profile: Profile, refuse: Callable[[], None]) -> None:
        self.profile = profile
        self.refuse = refuse

    def since(self, release: str, node: Node) -> Node | None:
        """The node, if this kernel has it."""
        return node if self.profile.since(release) else None

    def numbered(self, nr_file: str, make: Callable[[], Directory], most: int | None = None) -> Numbered:
        """A folder whose ``nr_…`` file needs DAMON's lock."""
        return Numbered(nr_file, make, self.refuse, most)

    def context(self) -> Directory:
        """``contexts/0``."""
        return folder(
            avail_operations=text_file("".join(f"{name}\n" for name in OPERATIONS), mode=0o400),
            operations=Choice(*OPERATIONS),
            addr_unit=self.since("6.18", Number(1)),
            pause=self.since("7.2", Flag()),
            monitoring_attrs=self.monitoring_attrs(),
            targets=self.numbered("nr_targets", self.target),
            schemes=self.numbered("nr_schemes", self.scheme),
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
            weight=self.since("7.3", Number(bits=UINT_BITS)),
            filters=self.numbered("nr_filters", self.probe_filter),
        )

    def probe_filter(self) -> Directory:
        """``probes/P/filters/F``."""
        return folder(type=Choice("anon", "memcg"), matching=Flag(), allow=Flag(), path=Text(self.refuse))

    def target(self) -> Directory:
        """``targets/T``."""
        return folder(
            pid_target=Number(bits=UINT_BITS, signed=True),
            obsolete_target=self.since("6.19", Flag()),
            regions=self.numbered("nr_regions", lambda: folder(start=Number(), end=Number())),
        )

    def scheme(self) -> Directory:
        """``schemes/S``. The access pattern is all zero at first, and so matches nothing."""
        return folder(
            action=Choice(*self.actions()),
            access_pattern=folder(sz=span(), nr_accesses=span(), age=span()),
            apply_interval_us=Number(),
            target_nid=Number(NO_NODE, bits=UINT_BITS, signed=True),
            quotas=self.quotas(),
            watermarks=folder(
                metric=Choice("none", "free_mem_rate"),
                interval_us=Number(),
                high=Number(),
                mid=Number(),
                low=Number(),
            ),
            filters=self.numbered("nr_filters", self.filter),
            core_filters=self.since("6.15", self.numbered("nr_filters", self.filter)),
            ops_filters=self.since("6.15", self.numbered("nr_filters", self.filter)),
            dests=self.since("6.17", self.numbered("nr_dests", lambda: folder(id=Number(), weight=Number()))),
            stats=self.stats(),
            tried_regions=folder(total_bytes=Result()),
        )

    def actions(self) -> tuple[str, ...]:
        """The actions of a scheme; the first is the default."""
        newer = ("collapse",) if self.profile.since("7.2") else ()
        older = ("willneed", "cold", "pageout", "hugepage", "nohugepage", "lru_prio", "lru_deprio")
        return ("stat", *older, "migrate_hot", "migrate_cold", *newer)

    def quotas(self) -> Directory:
        """``quotas``."""
        return folder(
            ms=Number(),
            bytes=Number(),
            reset_interval_ms=Number(),
            effective_bytes=Result(),
            goal_tuner=self.since("7.1", Choice("consist", "temporal")),
            fail_charge_num=self.since("7.2", Number(bits=UINT_BITS)),
            fail_charge_denom=self.since("7.2", Number(bits=UINT_BITS)),
            weights=folder(sz_permil=Number(), nr_accesses_permil=Number(), age_permil=Number()),
            goals=self.numbered("nr_goals", self.goal),
        )

    def goal(self) -> Directory:
        """``quotas/goals/G``."""
        newer = ("node_mem_used_bp", "node_mem_free_bp") if self.profile.since("6.16") else ()
        return folder(
            target_metric=Choice("user_input", "some_mem_psi_us", *newer),
            target_value=Number(),
            current_value=Number(),
            nid=self.since("6.16", Number(bits=UINT_BITS, signed=True)),
            path=self.since("6.19", Text(self.refuse)),
        )

    def filter(self) -> Directory:
        """``filters/F``, ``core_filters/F``, ``ops_filters/F``."""
        newer = ("hugepage_size", "unmapped", "active") if self.profile.since("6.15") else ()
        return folder(
            type=Choice("anon", "memcg", "young", "addr", "target", *newer),
            matching=Flag(),
            allow=self.since("6.14", Flag()),
            memcg_path=Text(self.refuse),
            addr_start=Number(),
            addr_end=Number(),
            min=self.since("6.15", Number()),
            max=self.since("6.15", Number()),
            damon_target_idx=Number(bits=UINT_BITS, signed=True),
        )

    def stats(self) -> Directory:
        """``stats``: copies of the kernel's counters, as of the last update."""
        return folder(
            nr_tried=Result(),
            sz_tried=Result(),
            nr_applied=Result(),
            sz_applied=Result(),
            qt_exceeds=Result(),
            sz_ops_filter_passed=self.since("6.14", Result()),
            nr_snapshots=self.since("7.0", Result()),
            max_nr_snapshots=self.since("7.0", Number()),
        )

    def tried_region(self, start: int, end: int, nr_accesses: int, age: int) -> Directory:
        """``tried_regions/R``."""
        return folder(
            start=Result(start),
            end=Result(end),
            nr_accesses=Result(nr_accesses),
            age=Result(age),
            sz_filter_passed=self.since("6.14", Result()),
            probes=self.since("7.2", Directory()),
        )


def folder(**children: Node | None) -> Directory:
    """A folder with those children that the kernel has."""
    return Directory({name: child for name, child in children.items() if child is not None})


def span() -> Directory:
    """``min`` and ``max``, both inclusive."""
    return folder(min=Number(), max=Number())
