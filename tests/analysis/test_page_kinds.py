"""What a page frame is used for, by flags as real kernels show them."""

import numpy as np
import pytest

from damon_exporter.analysis.page_kinds import KINDS, kinds
from damon_exporter.analysis.snapshot import U64

BITS = """
LOCKED ERROR REFERENCED UPTODATE DIRTY LRU ACTIVE SLAB WRITEBACK RECLAIM BUDDY MMAP ANON SWAPCACHE SWAPBACKED HEAD TAIL
HUGE UNEVICTABLE HWPOISON NOPAGE KSM THP OFFLINE ZERO_PAGE IDLE PGTABLE
"""
"""In the order of the kernel's include/uapi/linux/kernel-page-flags.h."""

RESERVED = 1 << 32
OWNER_2 = 1 << 34

SEEN = {
    "a hole on 6.12": ("NOPAGE", "hole"),
    "the head of a free block": ("BUDDY", "free"),
    "free and reported to the hypervisor": ("UPTODATE BUDDY", "free"),
    "the head of a huge page from the pool": ("UPTODATE HEAD HUGE", "hugetlb"),
    "the tail of one": ("UPTODATE DIRTY MMAP TAIL HUGE", "hugetlb"),
    "a slab of one page": ("SLAB", "slab"),
    "the head of a slab": ("SLAB HEAD", "slab"),
    "the tail of a slab": ("SLAB TAIL", "slab"),
    "the tail of a slab whose fields look like those of an anonymous page": ("SLAB ANON TAIL", "slab"),
    "a stack": ("UPTODATE LRU MMAP ANON SWAPBACKED", "anon"),
    "what MADV_FREE gives up": ("UPTODATE LRU MMAP ANON", "anon"),
    "swapped in": ("UPTODATE LRU ANON SWAPCACHE SWAPBACKED", "anon"),
    "merged by KSM": ("UPTODATE LRU MMAP ANON SWAPBACKED KSM", "anon"),
    "the tail of an anonymous huge page": ("UPTODATE LRU MMAP ANON SWAPBACKED TAIL THP", "anon"),
    "the tail of one before 6.10": ("MMAP ANON TAIL THP", "anon"),
    "a page of tmpfs": ("UPTODATE DIRTY LRU SWAPBACKED", "shmem"),
    "a page of ramfs": ("REFERENCED UPTODATE DIRTY LRU MMAP SWAPBACKED UNEVICTABLE IDLE", "shmem"),
    "a page of a file": ("UPTODATE LRU", "file"),
    "a program's text": ("REFERENCED UPTODATE LRU ACTIVE MMAP", "file"),
    "locked into memory": ("REFERENCED UPTODATE LRU MMAP UNEVICTABLE", "file"),
    "the tail of a large folio of a file": ("REFERENCED UPTODATE LRU TAIL THP IDLE", "file"),
    "the tail of one before 6.10, which lacks LRU": ("TAIL THP", "file"),
    "the huge zero page": ("UPTODATE TAIL THP ZERO_PAGE", "other"),
    "the head of the huge zero page before 6.10": ("UPTODATE LRU HEAD THP ZERO_PAGE", "other"),
    "a page table": ("MMAP PGTABLE", "other"),
    "taken away by a balloon": ("OFFLINE", "other"),
    "the tail of a driver's buffer": ("TAIL", "other"),
    "no flag at all": ("", "other"),
}


def flags(*words: str) -> U64:
    names = BITS.split()
    return np.array([sum(1 << names.index(name) for name in word.split()) for word in words], np.uint64)


@pytest.mark.parametrize("name", SEEN)
def test_a_page_is_told_by_its_flags(name: str) -> None:
    words, kind = SEEN[name]
    assert [KINDS[index] for index in kinds(flags(words))] == [kind]


def test_pages_are_told_one_by_one() -> None:
    told = kinds(flags(*(words for words, _ in SEEN.values())))
    assert [KINDS[index] for index in told] == [kind for _, kind in SEEN.values()]
    assert len(kinds(flags())) == 0


@pytest.mark.parametrize("high", [RESERVED, OWNER_2, 1 << 63], ids=["reserved", "owner 2", "one that is to come"])
def test_flags_for_developers_of_the_kernel_change_nothing(high: int) -> None:
    plain = flags(*(words for words, _ in SEEN.values()))
    assert kinds(plain | np.uint64(high)).tolist() == kinds(plain).tolist()


def test_the_kinds_are_those_of_the_contract() -> None:
    assert KINDS == ("hole", "free", "hugetlb", "slab", "anon", "shmem", "file", "other")
