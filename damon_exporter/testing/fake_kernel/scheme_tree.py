"""The folders below ``schemes`` with their defaults, each file and word with the release that brought it."""

from damon_exporter.testing.fake_kernel.layout import Layout, folder, sint, span, uint
from damon_exporter.testing.fake_kernel.tree import Directory
from damon_exporter.testing.fake_kernel.values import Choice, Flag, Number, QuotaNumber, Result, Text

NO_NODE = -1
CORE_TYPES = ("addr", "target")


class SchemeLayout(Layout):
    """``schemes/S``."""

    def scheme(self) -> Directory:
        """The access pattern is all zero at first, and so matches nothing."""
        return folder(
            action=Choice(*self.actions()),
            access_pattern=folder(sz=span(), nr_accesses=span(), age=span()),
            apply_interval_us=Number(),
            target_nid=sint(NO_NODE),
            quotas=self.quotas(),
            watermarks=folder(
                metric=Choice("none", "free_mem_rate"),
                interval_us=Number(),
                high=Number(),
                mid=Number(),
                low=Number(),
            ),
            filters=self.filters(*self.ops_types(), *CORE_TYPES),
            core_filters=self.since("6.15", self.filters(*CORE_TYPES)),
            ops_filters=self.since("6.15", self.filters(*self.ops_types())),
            dests=self.since("6.17", self.numbered("nr_dests", lambda: folder(id=uint(), weight=uint()))),
            stats=self.stats(),
            tried_regions=folder(total_bytes=Result()),
        )

    def actions(self) -> tuple[str, ...]:
        """damos_sysfs_action_names; the first is the default."""
        older = ("willneed", "cold", "pageout", "hugepage", "nohugepage", "lru_prio", "lru_deprio")
        return ("stat", *older, "migrate_hot", "migrate_cold", *self.words_since("7.2", "collapse"))

    def quotas(self) -> Directory:
        """``quotas``."""
        return folder(
            ms=QuotaNumber(),
            bytes=QuotaNumber(),
            reset_interval_ms=QuotaNumber(),
            effective_bytes=Result(),
            goal_tuner=self.since("7.1", Choice("consist", "temporal")),
            fail_charge_num=self.since("7.2", QuotaNumber(bits=32)),
            fail_charge_denom=self.since("7.2", QuotaNumber(bits=32)),
            weights=folder(sz_permil=uint(), nr_accesses_permil=uint(), age_permil=uint()),
            goals=self.numbered("nr_goals", self.goal),
        )

    def goal(self) -> Directory:
        """``quotas/goals/G``."""
        return folder(
            target_metric=Choice(
                "user_input",
                "some_mem_psi_us",
                *self.words_since("6.16", "node_mem_used_bp", "node_mem_free_bp"),
                *self.words_since("6.19", "node_memcg_used_bp", "node_memcg_free_bp"),
                *self.words_since("7.0", "active_mem_bp", "inactive_mem_bp"),
                *self.words_since("7.2", "node_eligible_mem_bp"),
            ),
            target_value=Number(),
            current_value=Number(),
            nid=self.since("6.16", sint()),
            path=self.since("6.19", Text(self.refuse)),
        )

    def ops_types(self) -> tuple[str, ...]:
        """The types of filters that the set of operations handles, page by page; the first is the default."""
        return ("anon", "memcg", "young", *self.words_since("6.15", "hugepage_size", "unmapped", "active"))

    def filters(self, *types: str) -> Directory:
        """A folder of filters. Whatever may be written to ``type``, it is ``anon`` at first, even in core_filters."""
        return self.numbered("nr_filters", lambda: self.filter(types))

    def filter(self, types: tuple[str, ...]) -> Directory:
        """One filter; all of them have all arguments, whatever they look at."""
        return folder(
            type=Choice(*types, default="anon"),
            matching=Flag(),
            allow=self.since("6.14", Flag()),
            memcg_path=Text(self.refuse),
            addr_start=Number(),
            addr_end=Number(),
            min=self.since("6.15", Number()),
            max=self.since("6.15", Number()),
            damon_target_idx=sint(),
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

    def tried_region(self, start: int, end: int, nr_accesses: int, age: int, passed: int) -> Directory:
        """``tried_regions/R``."""
        return folder(
            start=Result(start),
            end=Result(end),
            nr_accesses=Result(nr_accesses),
            age=Result(age),
            sz_filter_passed=self.since("6.14", Result(passed)),
            probes=self.since("7.2", Directory()),
        )
