"""The helper process that writes commands; it imports nothing but the standard library and holds no socket.

Reads lines of JSON from standard input, ``{"path": …, "value": …}``, writes each value with one write(2), and
answers ``{"errno": 0}``. It ends when its input does, that is with the exporter. The kernel lets a writer sleep
unkillably until a kdamond answers: in a thread of the exporter that would keep its port bound after SIGKILL.
"""

import json
import os
import signal
import sys


def write_once(path: str, value: str) -> int:
    """Write a value with one write(2) and return the errno, 0 for success."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        return error.errno or -1
    return 0


def main() -> None:
    """Answer commands until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exporter decides when to stop, also on Ctrl-C
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.write(json.dumps({"errno": write_once(command["path"], command["value"])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
