"""One buffer that is touched all the time, one that was written once and is then left alone."""

import math

from memory import announce, keep_touching, mapped, parser, size

MARGIN = size("32MiB")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--hot", type=size, default=size("64MiB"))
    options.add_argument("--idle", type=size, default=size("128MiB"))
    arguments = options.parse_args()
    idle, hot = mapped(arguments.idle, MARGIN), mapped(arguments.hot, MARGIN)
    announce(arguments.comm, hot=hot.addresses(), idle=idle.addresses())
    keep_touching(math.inf, hot)


if __name__ == "__main__":
    main()
