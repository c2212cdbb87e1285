"""The monitors of our file and those of damo's, as one list."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from damon_exporter.config.damo_file import DamoFile, read_damo_file
from damon_exporter.config.fields import Place
from damon_exporter.config.messages import path
from damon_exporter.config.model import parameter_file
from damon_exporter.units import shown


class AllMonitors:
    """What ``keys`` become with the file that ``monitors_from`` names, which begins at ``folder``."""

    def __init__(self, keys: Mapping[str, object], folder: Path) -> None:
        self._damo = _named(keys.get("monitors_from"), folder)
        own = keys.get("monitors", [] if self._damo else None)
        self._own = own if isinstance(own, list) else []
        merges = self._damo is not None and isinstance(own, list)
        self._added: Sequence[Mapping[str, object]] = self._damo.monitors if self._damo and merges else ()
        self.keys = {**keys, "monitors": [*self._own, *self._added]} if merges else dict(keys)

    def lines(self, found: Sequence[tuple[Place, str]]) -> list[str]:
        """Return the lines for what was ``found`` wrong with ``keys``, between those for names and for damo's file.

        What is wrong only because something else in damo's file is, which is told, is left out.
        """
        told = [line for place, text in found if (line := self._line(place, text))]
        of_damo = [self._damo.line(*problem) for problem in self._damo.problems] if self._damo else []
        return [*self._repeated_names(), *told, *of_damo]

    def _line(self, place: Place, text: str) -> str | None:
        match place:
            case ("monitors",) if self._damo and self._added:
                return f"monitors, with those of {self._damo.name}: {text}"
            case ("monitors", int(index), *within) if self._damo and index >= len(self._own):
                theirs = self._damo.place(index - len(self._own), tuple(within))
                return None if self._damo.is_told(theirs) else self._damo.line(theirs, text)
        return f"{path(place)}: {text}"

    def _repeated_names(self) -> list[str]:
        """Looked for among the plain keys, so that it is told beside whatever else is wrong with the monitors."""
        repeated = []
        first: dict[str, int] = {}
        for index, monitor in enumerate([*self._own, *self._added]):
            name = monitor.get("name") if isinstance(monitor, Mapping) else None
            if not isinstance(name, str) or first.setdefault(name, index) == index:
                continue
            if self._damo and index >= len(self._own):
                place = self._damo.place(index - len(self._own), ("name",))
                repeated.append(
                    self._damo.line(place, f"is {shown(name)}, which monitors[{first[name]}] is too; rename that")
                )
            else:
                repeated.append(
                    f"monitors[{index}].name: {shown(name)} names monitors[{first[name]}] already; choose another"
                )
        return repeated


def _named(value: object, folder: Path) -> DamoFile | None:
    """Return what a file of damo's asks for; None if none is named, or by something that names no file."""
    try:
        name = parameter_file(value)
    except ValueError:
        return None
    return read_damo_file(name, folder)
