"""Two areas of 100 000 000 bytes, hot in turn: the working set is 95.4 MiB at any time."""

from memory import announce, keep_touching, mapped, parser, size


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--area", type=size, default=100_000_000, help="size of one area")
    options.add_argument("--dwell", type=float, default=5.0, help="seconds for which an area is hot")
    arguments = options.parse_args()
    areas = [mapped(arguments.area), mapped(arguments.area)]
    announce(arguments.comm, areas=[area.addresses() for area in areas])
    while True:
        for area in areas:
            keep_touching(arguments.dwell, area)


if __name__ == "__main__":
    main()
