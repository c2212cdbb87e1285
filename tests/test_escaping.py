import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damon_exporter.escaping import printable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres", "postgres"),
        ("naïve 東京 🐘", "naïve 東京 🐘"),
        (r"dev-disk-by\x2dlabel.swap", r"dev-disk-by\x2dlabel.swap"),
        ("", ""),
        ("two\nlines", r"two\x0alines"),
        ("\x1b[31mred\0", r"\x1b[31mred\x00"),
        ("\u202egpj.exe", r"\xe2\x80\xaegpj.exe"),  # turns the reading direction around
        ("a\u00a0b", r"a\xc2\xa0b"),
        ("\ud800", r"\xed\xa0\x80"),  # nothing that was read holds such a half, yet nothing may break
        ("\udcff\ud800\n", r"\xff\xed\xa0\x80\x0a"),
    ],
)
def test_what_cannot_be_printed_is_written_as_its_bytes(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("name", "shown"), [(b"po\xffst", r"po\xffst"), ("größe".encode(), "größe"), (b"cut \xc3", r"cut \xc3")]
)
def test_the_name_of_a_file_is_shown_whatever_its_bytes(name: bytes, shown: str) -> None:
    assert printable(os.fsdecode(name)) == shown


def test_a_character_that_came_in_pieces_is_one_character() -> None:
    assert printable("gr\udcc3\udcb6ße") == "größe"


@given(ANY_TEXT)
def test_everything_can_be_printed_and_encoded(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert shown.encode().decode() == shown


@given(ANY_TEXT)
def test_escaping_twice_is_escaping_once(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(st.binary(max_size=64).map(lambda raw: raw.replace(b"\\", b"/")))
def test_the_bytes_of_a_name_without_backslashes_can_be_told_from_what_is_shown(raw: bytes) -> None:
    shown = printable(os.fsdecode(raw))

    assert re.sub(rb"\\x(..)", lambda escape: bytes.fromhex(escape[1].decode()), shown.encode()) == raw
