"""Areas side by side in one mapping, each hot in its turn, over and over."""

from memory import announce, keep_touching, mapped, parser, size


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--areas", type=int, default=10)
    options.add_argument("--area", type=size, default=size("10MiB"), help="size of one area")
    options.add_argument("--dwell", type=float, default=5.0, help="seconds for which an area is hot")
    arguments = options.parse_args()
    areas = mapped(arguments.area * arguments.areas).divided(arguments.areas)
    announce(arguments.comm, areas=[area.addresses() for area in areas])
    while True:
        for area in areas:
            keep_touching(arguments.dwell, area)


if __name__ == "__main__":
    main()
