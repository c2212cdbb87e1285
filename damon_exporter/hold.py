"""What the work on one monitor's slot needs."""

from dataclasses import dataclass

from damon_exporter.kernel.claim import Claim
from damon_exporter.kernel.damon_sysfs import Slot
from damon_exporter.planning import Abilities


@dataclass(frozen=True, slots=True)
class Hold:
    """A slot, the claim by which it may be written, and what DAMON can do here."""

    claim: Claim
    slot: Slot
    abilities: Abilities
