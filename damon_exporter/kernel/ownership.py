"""Whose DAMON tree is it? The lock between exporters, the token that marks a slot as ours, and a look at all."""

import enum
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from damon_exporter.kernel.damon_sysfs import DamonTree, Slot
from damon_exporter.kernel.errors import Busy, Denied, KernelError, Unsupported, explain
from damon_exporter.kernel.leaf import CGROUP_PATH_FILES
from damon_exporter.kernel.modules import MODULES
from damon_exporter.kernel.plan import ATTRIBUTES, INTERVALS, NR_SCHEMES, SPARE_TOKEN_FILE, TOKEN_FILE

MAGIC = 0xDA305E
VERSION = 1

UNTOLD = ("avail_operations", *CGROUP_PATH_FILES)
"""Files that tell nothing of what somebody has set: a list of the kernel's, and paths of cgroups, whose folder is there
only if its ``nr_…`` says so, and whose reading races with writers before 7.1."""

FRESH: Mapping[str, tuple[str, ...]] = {
    "state": ("off",),
    "pid": ("-1",),
    "contexts/nr_contexts": ("0", "1"),
    "contexts/0/operations": ("vaddr",),
    "contexts/0/addr_unit": ("1",),
    f"{INTERVALS}/sample_us": ("5000",),
    f"{INTERVALS}/aggr_us": ("100000",),
    f"{INTERVALS}/update_us": ("60000000",),
    f"{ATTRIBUTES}/nr_regions/min": ("10",),
    f"{ATTRIBUTES}/nr_regions/max": ("1000",),
    NR_SCHEMES: ("0", "1"),
    "contexts/0/schemes/0/action": ("stat",),
    "contexts/0/schemes/0/target_nid": ("-1",),
    "contexts/0/schemes/0/quotas/goal_tuner": ("consist",),
    "contexts/0/schemes/0/watermarks/metric": ("none",),
}
"""What files of a slot show in which nothing has been set but a context and a scheme, from 5.18 to 7.3."""

UNSET = ("0", "N", "")
"""What all other files show then. One of a later kernel that does not is taken for somebody's: that harms nobody."""


@dataclass(frozen=True, slots=True)
class Token:
    """What the kernel keeps for us while we are gone.

    64 bits in a file that a ``stat`` scheme without a quota ignores: 24 of magic, 4 of version, 4 for the modules
    that we stopped and must start again, 32 for the fingerprint of the slot's plan (0: no plan yet).
    """

    modules: frozenset[str] = frozenset()
    fingerprint: int = 0

    def encode(self) -> int:
        """Return the number to write."""
        bits = sum(1 << i for i, name in enumerate(MODULES) if name in self.modules)
        return MAGIC << 40 | VERSION << 36 | bits << 32 | self.fingerprint

    @staticmethod
    def decode(number: int) -> "Token | None":
        """Return the token that a number stands for, None if it is not one of ours."""
        if number >> 36 != MAGIC << 4 | VERSION:
            return None
        modules = frozenset(name for i, name in enumerate(MODULES) if number >> 32 & 1 << i)
        return Token(modules, number & 0xFFFFFFFF)


class TreeLock:
    """An exclusive flock on ``nr_kdamonds``, where the exporters of all containers of a host meet."""

    def __init__(self, tree: DamonTree) -> None:
        try:
            self.fd = os.open(tree.size_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise explain(error, "lock", tree.size_file) from error
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self.fd)
            raise Busy(
                f"another damon-exporter holds the lock on {tree.size_file}: only one per host controls DAMON"
            ) from error
        except OSError as error:
            os.close(self.fd)
            raise explain(error, "lock", tree.size_file) from error

    def release(self) -> None:
        """Let the next exporter in."""
        os.close(self.fd)


class Holder(enum.Enum):
    """To whom the tree belongs, as far as reading it tells."""

    NOBODY = "no slots"
    US = "slots with our token"
    UNFINISHED = "as many slots as we make, all off and all default: an exporter was killed while it made them"
    SOMEBODY_IDLE = "slots without our token, all off"
    SOMEBODY = "a kdamond without our token runs"
    UNREADABLE = "cannot be read"


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at the tree has shown."""

    holder: Holder
    tokens: Mapping[int, Token] = field(default_factory=dict)
    problem: KernelError | None = None

    @property
    def stopped_modules(self) -> frozenset[str]:
        """The modules that an earlier run of ours has stopped."""
        return frozenset().union(*(token.modules for token in self.tokens.values()))


def survey(tree: DamonTree, slots_made: int = 0) -> Survey:
    """Look at every slot, without writing anything; raises `Busy` or `Gone` while somebody changes it.

    ``slots_made`` is how many we would make: only so many empty slots can be what a killed exporter left.
    """
    try:
        slots = list(tree.slots())
        tokens = {slot.index: token for slot in slots if (token := slot_token(slot))}
        return Survey(_holder(slots, tokens, slots_made), tokens)
    except (Denied, Unsupported) as problem:
        return Survey(Holder.UNREADABLE, problem=problem)


def _holder(slots: list[Slot], tokens: Mapping[int, Token], slots_made: int) -> Holder:
    if not slots:
        return Holder.NOBODY
    if any(slot.running() for slot in slots if slot.index not in tokens):
        return Holder.SOMEBODY
    if tokens:
        return Holder.US
    unfinished = len(slots) == slots_made and all(is_default(slot) for slot in slots)
    return Holder.UNFINISHED if unfinished else Holder.SOMEBODY_IDLE


def slot_token(slot: Slot) -> Token | None:
    """Return the slot's token, None if it has none of ours."""
    return _token_in(slot, TOKEN_FILE) or _token_in(slot, SPARE_TOKEN_FILE)


def _token_in(slot: Slot, leaf: str) -> Token | None:
    try:
        return Token.decode(slot.number(leaf))
    except Unsupported:
        return None


def is_default(slot: Slot) -> bool:
    """Has nothing been set in this slot but a context and a scheme? Compares every file; raises `KernelError`."""
    leaves = (file.removeprefix(f"{slot.folder}/") for file in _telling_files(slot.folder))
    return not slot.running() and all(slot.read(leaf) in FRESH.get(leaf, UNSET) for leaf in leaves)


def contents(tree: DamonTree) -> int:
    """Digest the values of an idle tree, so that two looks tell whether anybody has changed it in between."""
    return hash(tuple((file, _bytes_or_none(file)) for file in _telling_files(tree.size_file.parent)))


def _telling_files(top: Path) -> Iterator[str]:
    """Yield all files below a folder that tell what somebody has set, in the same order every time."""
    for folder, _, names in sorted(os.walk(top)):
        for name in sorted(names):
            if name not in UNTOLD:
                yield os.path.join(folder, name)  # noqa: PTH118 - thousands of files: strings are faster


def _bytes_or_none(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 4096)
        finally:
            os.close(fd)
    except OSError:
        return None
