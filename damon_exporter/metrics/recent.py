"""What is made of a published state, kept for the last two of them."""

import threading
from collections import deque
from collections.abc import Callable, Hashable
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


class Answers:
    """What is made of a state for whoever asks, shared with all who ask the same of it; for any number of threads.

    The last ``most`` questions are kept of each state, which bounds the memory, and one answer is made at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: Recent[dict[Hashable, bytes]] = Recent(lambda _: {})

    def __call__(self, state: NodeState, question: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what was made for a question, or make it."""
        with self._lock:
            kept = self._kept(state)
            if question not in kept:
                made = make()
                if len(kept) == self._most:
                    del kept[next(iter(kept))]
                kept[question] = made
            return kept[question]
