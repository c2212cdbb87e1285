"""From the monitors that run to those of another configuration: all of them, or none.

What does not change is not touched. What changes is committed to the kdamond that runs where that suffices, and is
restarted in its slot where it does not. If anything fails, what was done is undone: the old monitors go on. Only where
the exporter is asked to end meanwhile (`Ending`) everything stays as it is just then, to be given back as a whole.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from damon_exporter.config import Monitor
from damon_exporter.hold import Hold
from damon_exporter.keeper import Keeper
from damon_exporter.kernel.errors import KernelError, NotOurs
from damon_exporter.leaving import Leaving
from damon_exporter.planning import Abilities

log = logging.getLogger(__name__)

HoldOf = Callable[[Keeper], Hold]


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one slot: who kept its monitor before, and who shall; None is nobody."""

    before: Keeper | None
    after: Keeper | None

    @property
    def changes(self) -> bool:
        """Is anything to be done?"""
        return self.before is not self.after


class Succession:
    """Which keeper follows which. Monitors of the same name follow each other, then any that go make way for new ones.

    ``make`` makes the keeper of a monitor in a slot. ``slots`` is how many there are, 0 while none are ours.
    """

    def __init__(
        self, before: Sequence[Keeper], monitors: Sequence[Monitor], slots: int, make: Callable[[Monitor, int], Keeper]
    ) -> None:
        self.before = tuple(before)
        self._slots = slots
        going = {keeper.monitor.name: keeper for keeper in before}
        paired = [(monitor, going.pop(monitor.name, None)) for monitor in monitors]
        left = list(going.values())
        paired = [(monitor, keeper or (left.pop(0) if left else None)) for monitor, keeper in paired]
        free = (index for index in range(len(monitors) + len(before)) if index not in {k.index for k in before})
        self.steps = [
            Step(old, old if old and old.monitor == monitor else make(monitor, old.index if old else next(free)))
            for monitor, old in paired
        ]
        self.steps += [Step(keeper, None) for keeper in left]
        self._done: set[Step] = set()

    @property
    def after(self) -> tuple[Keeper, ...]:
        """Those who keep the monitors when all is done, in the order of the configuration."""
        return tuple(step.after for step in self.steps if step.after)

    @property
    def reached(self) -> tuple[Keeper, ...]:
        """Those who keep the monitors where it was broken off."""
        keepers = (step.after if step in self._done else step.before for step in self.steps)
        return tuple(keeper for keeper in keepers if keeper)

    @property
    def needs_more_slots(self) -> bool:
        """Are there fewer slots than are used? Making more throws away all there are."""
        return self._slots <= max((keeper.index for keeper in self.after), default=0)

    def rehearse(self, abilities: Abilities) -> None:
        """Look whether everything that is new can be planned on this kernel; raises `KernelError`."""
        for step in self._changing():
            if step.after:
                step.after.rehearse(abilities)

    def require_undisputed(self) -> None:
        """Raise `NotOurs` if another tool has changed something that would be touched."""
        touched = self.steps if self.needs_more_slots else self._changing()
        for keeper in (step.before for step in touched):
            if keeper and keeper.disputed:
                raise NotOurs(f"monitor {keeper.monitor.name} has just been changed by another tool: try again later")

    def start_new(self, hold_of: HoldOf, now: float, leaving: Leaving) -> None:
        """Start everything that is new, in slots in which nothing runs; raises `KernelError` and leaves nothing.

        `Ending` leaves what has been started.
        """
        self._done.update(self.steps)  # whatever comes, nothing is left of who kept them before
        for step in self._changing():
            if step.before and step.after:
                step.after.inherit(step.before)
        started: list[Keeper] = []
        try:
            for keeper in (step.after for step in self._changing() if step.after):
                started.append(keeper)
                keeper.succeed(None, hold_of(keeper), now)
        except KernelError:
            for keeper in started:
                self._dismiss(keeper, hold_of, leaving)
            raise

    def carry_out(self, hold_of: HoldOf, now: float, leaving: Leaving) -> None:
        """Do it, or raise `KernelError` with everything as it was before; take note of what could not be stopped.

        `Ending` leaves what is ``reached``.
        """
        begun: list[Step] = []
        try:
            for step in self._changing():
                if step.after:
                    begun.append(step)
                    step.after.succeed(step.before, hold_of(step.after), now)
                    self._done.add(step)
        except KernelError:
            for step in reversed(begun):
                self._undo(step, hold_of, now, leaving)
                self._done.discard(step)
            raise
        for step in self._changing():
            if step.before and step.after is None:
                self._dismiss(step.before, hold_of, leaving)

    def forget(self, staying: Sequence[Keeper]) -> None:
        """End what those leave behind who keep nothing any more: commands, descriptors."""
        in_use = {id(keeper.targets) for keeper in staying}
        for keeper in {*self.before, *self.after} - {*staying}:
            if id(keeper.targets) not in in_use:
                keeper.end()

    def _changing(self) -> Iterator[Step]:
        return (step for step in self.steps if step.changes)

    def _undo(self, step: Step, hold_of: HoldOf, now: float, leaving: Leaving) -> None:
        """Put back who kept the slot before; where that fails, it is started anew once what runs there is stopped."""
        if step.after is None:
            return
        if step.before is None:
            self._dismiss(step.after, hold_of, leaving)
            return
        try:
            step.before.succeed(step.after, hold_of(step.before), now)
        except KernelError as problem:
            log.error("monitor %s could not be put back at once: %s", step.before.monitor.name, problem)
            self._dismiss(step.after, hold_of, leaving)
            step.before.begin_anew()

    def _dismiss(self, keeper: Keeper, hold_of: HoldOf, leaving: Leaving) -> None:
        pid = keeper.pid
        try:
            keeper.stop(hold_of(keeper))
        except KernelError as problem:
            log.error("monitor %s is not kept any more and could not be stopped: %s", keeper.monitor.name, problem)
            if pid:
                leaving.add(keeper.index, pid)
