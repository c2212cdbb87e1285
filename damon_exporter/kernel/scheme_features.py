"""What of DAMOS the running kernel offers, by looking for files and by trying words; never by its version."""

from collections.abc import Iterator, Mapping

from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.kernel.errors import Rejected
from damon_exporter.kernel.files import patiently_write

SCHEME = "contexts/0/schemes/0"

FILES = {
    "apply_interval_us": ("apply_interval", "6.7"),
    "target_nid": ("target_nid", "6.11"),
    "dests": ("dests", "6.17"),
    "stats/max_nr_snapshots": ("max_nr_snapshots", "7.0"),
    "quotas/goals": ("goals of quotas", "6.8"),
    "quotas/goals/0/target_metric": ("metrics of goals", "6.9"),
    "quotas/goal_tuner": ("goal_tuner", "7.1"),
    "quotas/fail_charge_num": ("fail_charge", "7.2"),
    "filters": ("filters", "6.3"),
    "filters/0/allow": ("filters with allow: true", "6.14"),
    "core_filters": ("core_filters and ops_filters", "6.15"),
}
BEHAVIOURS = {
    "page filters of stat": ("ops_filters of stat", "6.14"),
    "page filters of stat for processes": ("ops_filters of stat for processes", "6.18"),
    "migration of processes": ("migration of processes", "6.17"),
    "inverted core filters": ("core_filters with matching: false for physical memory", "6.15"),
}
WORDS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "action": (
        "the action",
        {
            "5.18": "stat willneed cold pageout hugepage nohugepage",
            "6.0": "lru_prio lru_deprio",
            "6.11": "migrate_hot migrate_cold",
            "7.2": "collapse",
        },
    ),
    "filters/0/type": (
        "filters of type",
        {"6.3": "anon memcg", "6.6": "addr target", "6.10": "young", "6.15": "hugepage_size unmapped active"},
    ),
    "quotas/goals/0/target_metric": (
        "goals of",
        {
            "6.8": "user_input",
            "6.9": "some_mem_psi_us",
            "6.16": "node_mem_used_bp node_mem_free_bp",
            "6.19": "node_memcg_used_bp node_memcg_free_bp",
            "7.0": "active_mem_bp inactive_mem_bp",
            "7.2": "node_eligible_mem_bp",
        },
    ),
    "quotas/goal_tuner": ("the goal tuner", {"7.1": "consist temporal"}),
}

SINCE: Mapping[str, tuple[str, str]] = {
    **FILES,
    **BEHAVIOURS,
    **{
        f"{file}={word}": (f"{name} {word}", release)
        for file, (name, releases) in WORDS.items()
        for release, words in releases.items()
        for word in words.split()
    },
}
"""Everything that a scheme may need: what people call it, and the release that brought it.

A key is a file of a scheme's folder, a file with a word that it takes, or a behaviour that no file shows.
"""

_SIGNS = {
    "page filters of stat": "filters/0/allow",
    "page filters of stat for processes": "contexts/0/addr_unit",
    "migration of processes": "dests",
    # Before, each page was asked whether it matches, too: none does, so all were spared.
    "inverted core filters": "core_filters",
}
"""Behaviours that no file shows, each with a file that came with the same release."""

FOLDERS = ("filters/nr_filters", "quotas/goals/nr_goals")
"""Each must say 1 for the files below it to be looked at."""


def offers(slot: Slot) -> frozenset[str]:
    """Return which keys of `SINCE` there are, by trying them on scheme 0 of a slot of ours.

    What is tried is put back; the kernel is told of none of it, as nothing is committed. Raises `KernelError`.
    """
    folders = [folder for folder in FOLDERS if slot.has(f"{SCHEME}/{folder}")]
    for folder in folders:
        patiently_write(slot.folder / SCHEME / folder, 1)
    try:
        found = frozenset(_tried(slot))
    finally:
        for folder in folders:
            patiently_write(slot.folder / SCHEME / folder, 0)
    return found | {behaviour for behaviour, file in _SIGNS.items() if file in found or slot.has(file)}


def missing(needs: Iterator[str], offered: frozenset[str]) -> str | None:
    """Say what of ``needs`` the kernel lacks, and which release brought it; None if it has all."""
    lacking = dict.fromkeys(SINCE[need] for need in needs if need not in offered)
    return ", ".join(f"{name} (Linux {release})" for name, release in lacking) or None


def _tried(slot: Slot) -> Iterator[str]:
    for key in SINCE.keys() - BEHAVIOURS.keys():
        file, _, word = key.partition("=")
        if not slot.has(f"{SCHEME}/{file}"):
            # Before 6.9 a goal has no metric: it is what the user says.
            if key == "quotas/goals/0/target_metric=user_input" and slot.has(f"{SCHEME}/quotas/goals/0"):
                yield key
            continue
        if not word or _takes(slot, f"{SCHEME}/{file}", word):
            yield key


def _takes(slot: Slot, file: str, word: str) -> bool:
    """Does the kernel know this word? It is taken back at once."""
    before = slot.read(file)
    try:
        patiently_write(slot.folder / file, word)
    except Rejected:
        return False
    if word != before:
        patiently_write(slot.folder / file, before)
    return True
