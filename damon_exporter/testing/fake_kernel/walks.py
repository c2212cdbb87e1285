"""damos_walk() and its forerunner: which regions one application of every scheme tries."""

from dataclasses import dataclass, field

from damon_exporter.testing.fake_kernel.targets import Region


@dataclass(frozen=True, slots=True, order=True)
class TriedRegion:
    """A region that a scheme was applied to, as it was before. The order is that in which the kernel comes by."""

    target: int
    start: int
    scheme: int
    region: Region = field(compare=False)
    passed: int = field(compare=False)
    """Bytes that the ops filters let through."""


@dataclass
class Walk:
    """Collects what one full application of every scheme tries.

    ``needs_regions``: before 6.14 a scheme that tries nothing is waited for, up to a time that others know.
    """

    pending: set[int]
    needs_regions: bool
    regions: list[TriedRegion] = field(default_factory=list)

    def collect(self, tried: list[TriedRegion], applied: set[int]) -> None:
        """Take what one pass tried. Schemes that were due are done with, even those that watermarks kept asleep."""
        self.regions += sorted(region for region in tried if region.scheme in self.pending)
        self.pending -= {region.scheme for region in tried} if self.needs_regions else applied
