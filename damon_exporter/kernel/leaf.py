"""Files of DAMON's tree as values: what they are called, what they shall show, and what the kernel can hold."""

Leaf = tuple[str, str]
"""A file below a kdamond's folder, and the value that it shall have."""

ANY_SIZE = 2**64 - 1
ANY_COUNT = 2**32 - 1
"""The kernel keeps nr_accesses and age in 32 bits: 2^32 would silently become 0."""

CGROUP_PATH_FILES = ("memcg_path", "path")
"""Files with the path of a cgroup. Reading them races with writers before 7.1 (CVE-2026-46121, -46183), and they answer
EBUSY while a command is under way: they are written and not read."""


def names_a_cgroup(file: str) -> bool:
    """Does this file hold the path of a cgroup?"""
    return file.rpartition("/")[2] in CGROUP_PATH_FILES


def makes_folders(file: str) -> bool:
    """Does writing this file make the folders beside it anew, with defaults, whatever the value was?"""
    return file.rpartition("/")[2].startswith("nr_")
