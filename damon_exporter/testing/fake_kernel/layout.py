"""What all makers of folders below /sys/kernel/mm/damon/admin share: each file is there since some release."""

from collections.abc import Callable

from damon_exporter.testing.fake_kernel.profile import Profile
from damon_exporter.testing.fake_kernel.tree import Directory, Node
from damon_exporter.testing.fake_kernel.values import Number, Numbered

UINT_BITS = 32


class Layout:
    """Makes folders as one kernel has them. ``refuse`` raises EBUSY while DAMON's lock is taken."""

    def __init__(self, profile: Profile, refuse: Callable[[], None]) -> None:
        self.profile = profile
        self.refuse = refuse

    def since(self, release: str, node: Node) -> Node | None:
        """The node, if this kernel has it."""
        return node if self.profile.since(release) else None

    def words_since(self, release: str, *words: str) -> tuple[str, ...]:
        """The words, if this kernel knows them."""
        return words if self.profile.since(release) else ()

    def numbered(self, nr_file: str, make: Callable[[], Directory], most: int | None = None) -> Numbered:
        """A folder whose ``nr_…`` file needs DAMON's lock."""
        return Numbered(nr_file, make, self.refuse, most)


def folder(**children: Node | None) -> Directory:
    """A folder with those children that the kernel has."""
    return Directory({name: child for name, child in children.items() if child is not None})


def span() -> Directory:
    """``min`` and ``max``, both inclusive."""
    return folder(min=Number(), max=Number())


def uint() -> Number:
    """An ``unsigned int``; ERANGE for more than 32 bits."""
    return Number(bits=UINT_BITS)


def sint(value: int = 0) -> Number:
    """An ``int``; ERANGE for more than 32 bits."""
    return Number(value, bits=UINT_BITS, signed=True)
