"""Whether a scheme's watermarks let it act."""


def is_active(free: int, high: int, mid: int, low: int, before: bool | None) -> bool | None:
    """Return what the kernel makes of so much free memory (damos_wmark_wait_us in mm/damon/core.c).

    All in permil of memory. Between ``mid`` and ``high`` it stays as it was ``before``, None if that is not known.
    """
    if not low <= free <= high:
        return False
    return True if free < mid else before
