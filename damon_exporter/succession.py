"""From the monitors that run to those of another configuration: all of them, or none.

What does not change is not touched. What changes is committed to the kdamond that runs where that suffices, and is
restarted in its slot where it does not. If anything fails, what was done is undone: the old monitors go on.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from damon_exporter.config import Monitor
from damon_exporter.hold import Hold
from damon_exporter.keeper import Keeper
from damon_exporter.kernel.errors import KernelError, NotOurs
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

    @property
    def after(self) -> tuple[Keeper, ...]:
        """Those who keep the monitors when all is done, in the order of the configuration."""
        return tuple(step.after for step in self.steps if step.after)

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

    def inherit(self) -> None:
        """Let those who follow somebody watch on what he watches, where that is the same."""
        for step in self._changing():
            if step.before and step.after:
                step.after.inherit(step.before)

    def carry_out(self, hold_of: HoldOf, now: float) -> list[Keeper]:
        """Do it, or raise `KernelError` with everything as it was before; return who could not be stopped."""
        done: list[Step] = []
        try:
            for step in self._changing():
                if step.after:
                    done.append(step)
                    step.after.succeed(step.before, hold_of(step.after), now)
        except KernelError:
            for step in reversed(done):
                self._undo(step, hold_of, now)
            raise
        going = (step.before for step in self._changing() if step.before and step.after is None)
        return [keeper for keeper in going if not self._dismiss(keeper, hold_of)]

    def forget(self, done: bool) -> None:
        """End what those leave behind who keep nothing any more: commands, descriptors."""
        staying = self.after if done else self.before
        in_use = {id(keeper.targets) for keeper in staying}
        for keeper in {*self.before, *self.after} - {*staying}:
            if id(keeper.targets) not in in_use:
                keeper.end()

    def _changing(self) -> Iterator[Step]:
        return (step for step in self.steps if step.changes)

    def _undo(self, step: Step, hold_of: HoldOf, now: float) -> None:
        """Put back who kept the slot before; what cannot be put back at once is tried again at every look."""
        if step.after is None:
            return
        try:
            if step.before:
                step.before.succeed(step.after, hold_of(step.before), now)
            else:
                step.after.stop(hold_of(step.after))
        except KernelError as problem:
            name = (step.before or step.after).monitor.name
            log.error("monitor %s could not be put back at once: %s", name, problem)

    def _dismiss(self, keeper: Keeper, hold_of: HoldOf) -> bool:
        try:
            keeper.stop(hold_of(keeper))
        except KernelError as problem:
            log.error("monitor %s is not kept any more and could not be stopped: %s", keeper.monitor.name, problem)
            return False
        return True
