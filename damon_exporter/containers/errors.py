"""What goes wrong when pods are to be named, told with cause and cure."""


class NamesUnavailable(Exception):
    """A source of names does not tell any now. The message is one sentence, the same for the same cause."""

    def __init__(self, source: object, reason: str) -> None:
        super().__init__(f"pods are not named by {source}: {reason}")
