"""Judges command lines by regular expressions: of no process twice, and for so long at most at every look."""

import logging
import time
from pathlib import Path

from damon_exporter.kernel import procfs
from damon_exporter.kernel.procfs import Identity
from damon_exporter.patterns import CommandPattern

log = logging.getLogger(__name__)

MOST_SECONDS = 0.5
"""CPU time for the expressions in one look. Any user may start processes with lines that take long to judge (see
`patterns`); a thousand ordinary lines take 10 ms."""


class CommandLines:
    """Remembers what each process was found to be, until its command line changes.

    One that there was no time for counts as what it was before, or as one that does not fit, until a later look. Look
    at short lines first: they take little time, whoever has made them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[Identity, str] = {}
        self._verdicts: dict[tuple[Identity, str], tuple[int, bool]] = {}
        self._left = 0.0
        self._unjudged: set[Identity] = set()
        self._said = False

    def begin(self) -> None:
        """A look begins: command lines are read anew."""
        self._lines.clear()
        self._unjudged.clear()
        self._left = MOST_SECONDS

    def read(self, process: procfs.Process) -> str:
        """Return the command line of a process as it is in this look."""
        if process.identity not in self._lines:
            self._lines[process.identity] = procfs.command_line(self._path, process.pid)
        return self._lines[process.identity]

    def fits(self, pattern: CommandPattern, process: procfs.Process) -> bool:
        """Does the whole command line match?"""
        line, key = self.read(process), (process.identity, pattern.text)
        judged, verdict = self._verdicts.get(key, (None, False))
        if judged == hash(line):
            return verdict
        if self._left <= 0:
            self._unjudged.add(process.identity)
            return verdict
        began = time.thread_time()
        verdict = pattern.fullmatch(line)
        self._left -= time.thread_time() - began
        self._verdicts[key] = hash(line), verdict
        return verdict

    def end(self) -> None:
        """The look is over: forget all lines, and who has not been met in it."""
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key[0] in self._lines}
        self._lines.clear()
        if self._unjudged and not self._said:
            log.warning(
                "command lines take longer than %g s to compare with cmdline expressions: those of %d processes are "
                "compared at later looks; choose by cgroup, too, or write simpler expressions",
                MOST_SECONDS,
                len(self._unjudged),
            )
        self._said = bool(self._unjudged)
