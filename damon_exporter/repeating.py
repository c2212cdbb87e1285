"""A thread that does the same work again and again."""

import threading
from collections.abc import Callable


class Repeating:
    """Does ``work`` from `start` until `stop`; it returns how long (s) to rest, None: until it is woken.

    ``on_failure`` is called if the thread ends for a reason that nobody has foreseen. ``patience`` (s) is how long
    `stop` waits for the work under way, which is left behind then; None: until it is done.
    """

    def __init__(
        self, name: str, work: Callable[[], float | None], on_failure: Callable[[], None], patience: float | None = None
    ) -> None:
        self._work = work
        self._on_failure = on_failure
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._patience = patience
        self._thread = threading.Thread(target=self._run, name=name, daemon=patience is not None)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def wake(self) -> None:
        """Work again at once."""
        self._awake.set()

    def stop(self) -> None:
        """Stop when the work under way is done, or patience has ended."""
        self._stopping.set()
        self._awake.set()
        self._thread.join(self._patience)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._awake.wait(self._work())
                self._awake.clear()
        finally:
            if not self._stopping.is_set():
                self._on_failure()
