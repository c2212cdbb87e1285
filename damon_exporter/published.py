"""The one reference that sampler and web share."""

from damon_exporter.state import NodeState


class Published:
    """Holds the last published state. Reading and replacing a reference is atomic; no lock is needed."""

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def __call__(self) -> NodeState:
        """Return the last state."""
        return self._state

    def replace(self, state: NodeState) -> None:
        """Publish a new state."""
        self._state = state
