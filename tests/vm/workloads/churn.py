"""Processes that come and go, many a minute: each touches a buffer of its own again and again, and ends."""

import os
import signal
import time

from memory import announce, keep_touching, mapped, parser, size


def live(comm: str | None, seconds: float, bytes_touched: int) -> None:
    """What one of them does."""
    buffer = mapped(bytes_touched)
    announce(comm, buffer=buffer.addresses())
    keep_touching(seconds, buffer)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--per-minute", type=int, default=500)
    options.add_argument("--life", type=float, default=1.0, help="seconds for which each touches its buffer")
    options.add_argument("--size", type=size, default=size("1MiB"), help="size of its buffer")
    arguments = options.parse_args()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # leave no zombie of those that have ended
    started_at = time.monotonic()
    number = 0
    while True:
        if os.fork() == 0:
            live(arguments.comm, arguments.life, arguments.size)
            os._exit(0)
        number += 1
        time.sleep(max(0.0, started_at + number * 60 / arguments.per_minute - time.monotonic()))


if __name__ == "__main__":
    main()
