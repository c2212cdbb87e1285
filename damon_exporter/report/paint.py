"""Levels of heat, in colours where there is a terminal that shows them."""

import os
import sys
from dataclasses import dataclass

from damon_exporter.terminal import understands_codes

HOTTEST = 9
"""Heat is drawn in levels from 0 to this."""

_COLOURS = (17, 18, 19, 54, 90, 126, 161, 196, 208, 220)
"""Of the 256 that terminals have, from dark blue over red to yellow."""
_DARK_TEXT_FROM = 8


@dataclass(frozen=True, slots=True)
class Paint:
    """Draws levels of heat: a digit, on its colour if there are any."""

    coloured: bool

    def heat(self, level: int) -> str:
        """One character."""
        if not self.coloured:
            return str(level)
        text = 16 if level >= _DARK_TEXT_FROM else 231
        return f"\033[48;5;{_COLOURS[level]}m\033[38;5;{text}m{level}\033[0m"


def paint_for(choice: str) -> Paint:
    """Return the paint for ``auto`` (a terminal that has them, without NO_COLOR), ``always`` or ``never``."""
    wanted = understands_codes(sys.stdout) and not os.environ.get("NO_COLOR")
    return Paint(choice == "always" or (choice == "auto" and wanted))
