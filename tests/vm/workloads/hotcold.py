"""One buffer that is touched all the time, one that was written once and is then left alone."""

import math
import os

from memory import BREATH, announce, bind_to_node, enter_cgroup, keep_touching, mapped, parser, size, stay_in_memory

MARGIN = size("32MiB")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--hot", type=size, default=size("64MiB"))
    options.add_argument("--idle", type=size, default=size("128MiB"))
    options.add_argument("--pause", type=float, default=BREATH, help="seconds between two passes over the hot buffer")
    options.add_argument("--cgroup", help="put both buffers into this cgroup, as /a")
    options.add_argument("--node", type=int, help="put both buffers on this NUMA node")
    options.add_argument("--huge", action="store_true", help="make both of huge pages")
    options.add_argument("--stay", action="store_true", help="let nothing but the buffers be paged out")
    options.add_argument("--nice", type=int, default=0, help="niceness: below 0 it runs before others")
    arguments = options.parse_args()
    os.nice(arguments.nice)
    if arguments.cgroup is not None:
        enter_cgroup(arguments.cgroup)
    if arguments.node is not None:
        bind_to_node(arguments.node)
    if arguments.stay:
        stay_in_memory()
    idle, hot = (mapped(size, MARGIN, huge=arguments.huge) for size in (arguments.idle, arguments.hot))
    announce(arguments.comm, hot=hot.addresses(), idle=idle.addresses())
    keep_touching(math.inf, hot, pause=arguments.pause)


if __name__ == "__main__":
    main()
