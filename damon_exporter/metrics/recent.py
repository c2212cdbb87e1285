"""What is made of a published state, kept for the last two of them."""

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from damon_exporter.state import NodeState

T = TypeVar("T")


class Recent(Generic[T]):
    """Calls ``make`` once for each state, as long as at most one other is asked for meanwhile; not for several threads.

    Who began just before a publication still asks for the state before.
    """

    def __init__(self, make: Callable[[NodeState], T]) -> None:
        self._make = make
        self._kept: deque[tuple[NodeState, T]] = deque(maxlen=2)

    def __call__(self, state: NodeState) -> T:
        """Return what was made of a state, or make it."""
        for kept, made in self._kept:
            if kept is state:
                return made
        self._kept.append((state, self._make(state)))
        return self._kept[-1][1]
