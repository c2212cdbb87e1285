"""What may have been meant by a word that is not known."""

from collections.abc import Sequence
from difflib import get_close_matches


def nearest(word: str, known: Sequence[str], otherwise: str) -> str:
    """Ask for the one that resembles the word, or list all that are ``known`` after the words of ``otherwise``."""
    near = get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"{otherwise}: {', '.join(known)}"
