"""Memory that can leave: compressed RAM as swap, which the module zram gives a guest."""

from collections.abc import Iterator
from contextlib import contextmanager

from .guest import Guest

DEVICE, SETTINGS = "/dev/zram0", "/sys/block/zram0"
SIZE = "600M"


@contextmanager
def swap(guest: Guest) -> Iterator[None]:
    """Have swap while the block runs; what is in it then comes back."""
    guest.run(f"echo {SIZE} > {SETTINGS}/disksize && mkswap {DEVICE} && swapon {DEVICE}")
    try:
        yield
    finally:
        guest.run(f"swapoff {DEVICE} && echo 1 > {SETTINGS}/reset")


def swapped(guest: Guest) -> float:
    """Bytes that are in swap."""
    shown = dict(line.split(b":") for line in guest.get("/proc/meminfo").splitlines())
    return float(int(shown[b"SwapTotal"].split()[0]) - int(shown[b"SwapFree"].split()[0])) * 1024
