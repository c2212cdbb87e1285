"""A day in the life of a service, in three minutes: quiet, growing, stairs, zigzag, warm, shrinking; over and over.

A small core stays hot through all phases. Each phase is told by a JSON line when it begins.
"""

import json

from memory import Area, announce, keep_touching, mapped, parser, size

STEPS = 8


class Service:
    """Its memory, and the phases of what it does with it. Times are in seconds."""

    def __init__(self, core: Area, heap: Area, pace: float) -> None:
        """Args: pace: how many times faster than usual."""
        self._core = core
        self._heap = heap
        self._pace = pace

    def _work(self, seconds: float, *areas: Area, pause: float = 0.0) -> None:
        keep_touching(seconds / self._pace, self._core, *areas, pause=pause)

    def quiet(self) -> None:
        self._work(15)

    def growing(self) -> None:
        for step in range(1, STEPS + 1):
            self._work(4, self._heap.part(0, self._heap.size * step // STEPS))

    def stairs(self) -> None:
        for area in self._heap.divided(10):
            self._work(3, area)

    def zigzag(self) -> None:
        for area in self._heap.divided(2) * 3:
            self._work(5, area)

    def warm(self) -> None:
        self._work(25, self._heap.part(0, self._heap.size // 2), pause=0.02)

    def shrinking(self) -> None:
        for step in range(STEPS, 0, -1):
            self._work(3, self._heap.part(self._heap.size * (STEPS - step) // STEPS, self._heap.size))

    def live(self) -> None:
        """All phases in their order."""
        for phase in (self.quiet, self.growing, self.quiet, self.stairs, self.zigzag, self.warm, self.shrinking):
            print(json.dumps({"phase": phase.__name__}), flush=True)
            phase()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--core", type=size, default=size("8MiB"))
    options.add_argument("--heap", type=size, default=size("160MiB"))
    options.add_argument("--pace", type=float, default=1.0, help="how many times faster than in three minutes")
    arguments = options.parse_args()
    core, heap = mapped(arguments.core), mapped(arguments.heap)
    announce(arguments.comm, core=core.addresses(), heap=heap.addresses())
    service = Service(core, heap, arguments.pace)
    while True:
        service.live()


if __name__ == "__main__":
    main()
