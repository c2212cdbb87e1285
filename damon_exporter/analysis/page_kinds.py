"""What a page frame is used for, by the flags that /proc/kpageflags shows of it."""

import numpy as np
from numpy.typing import NDArray

from damon_exporter.analysis.snapshot import U64

LRU = 1 << 5
SLAB = 1 << 7
BUDDY = 1 << 10
ANON = 1 << 12
SWAPBACKED = 1 << 14
HUGE = 1 << 17
NOPAGE = 1 << 20
THP = 1 << 22
ZERO_PAGE = 1 << 24

_FLAGS = {
    "hole": NOPAGE,
    "free": BUDDY,
    "hugetlb": HUGE,
    "slab": SLAB,
    "anon": ANON,
    "shmem": SWAPBACKED,
    "file": LRU | THP,
    "other": 0,
}
"""Any of these flags makes a page one of the kind, unless it is one of a kind before.

The order matters: pages of slabs may show ANON, too (seen on 6.18), and anonymous ones are SWAPBACKED as well.
"""

KINDS = tuple(_FLAGS)


def kinds(flags: U64) -> NDArray[np.intp]:
    """Return the index in `KINDS` of each page, by its flags as in the kernel's admin-guide/mm/pagemap.rst.

    Since 6.10 every page of a compound one shows the flags of the whole. Before, the tails of a large folio of the
    page cache lack LRU and SWAPBACKED: THP makes them file, even if they are shmem. 6.12 shows NOPAGE for a hole;
    newer kernels (seen on 6.18) show no flags at all, as they do for many of their own pages. Other are, too, pages
    that are free, but in the list of one CPU, those on their way to an LRU list, page tables, zero pages.
    """
    found = np.full(len(flags), len(KINDS) - 1, np.intp)
    plain = np.where(flags & np.uint64(ZERO_PAGE), np.uint64(0), flags)
    for index, mask in reversed(tuple(enumerate(_FLAGS.values()))):
        found[(plain & np.uint64(mask)) != 0] = index
    return found
