"""Reading a large JSON text value by value, as far as it is good."""

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

CHUNK = 4096
"""Compressed bytes taken at once. Deflate makes at most 1032 bytes of one: a piece is 4 MiB at most."""

LARGEST_VALUE = 16 * 2**20
"""Characters that one JSON value may have: a snapshot of 50 000 regions in damo's own spelling."""

LONGEST_WORD = 16
"""Characters that a literal or an escape of JSON has at most: an error further from the end is no cut."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


class DamagedStreamError(Exception):
    """The stream is not good from here on; the message says why and, where it is known, at which byte."""


def inflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what a zlib stream holds, up to its end or to the last byte before the damage."""
    inflater = zlib.decompressobj()
    position = 0
    while not inflater.eof:
        chunk = next(chunks, b"")
        if not chunk:
            raise DamagedStreamError(f"byte {position}: the compressed data end early, the file was cut off")
        untouched = inflater.copy()
        try:
            piece = inflater.decompress(chunk)
        except zlib.error as error:
            yield from _inflate_bytewise(untouched, chunk, position)
            raise DamagedStreamError(f"byte {position}: {error}") from error
        yield piece
        position += len(chunk)
    surplus = len(inflater.unused_data)
    if surplus or next(chunks, b""):
        raise DamagedStreamError(f"byte {position - surplus}: something follows the end of the compressed data")


def _inflate_bytewise(inflater: "zlib._Decompress", chunk: bytes, position: int) -> Iterator[bytes]:
    """Yield what a damaged chunk still gives: of a whole one zlib withholds what comes before the damage."""
    for offset in range(len(chunk)):
        try:
            piece = inflater.decompress(chunk[offset : offset + 1])
        except zlib.error as error:
            raise DamagedStreamError(f"byte {position + offset}: {error}") from error
        yield piece


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a file, which may be a pipe; the first chunk has two unless these are all."""
    while chunk := file.read(CHUNK):
        yield chunk


class JsonStream:
    """A JSON text that arrives in pieces. Methods raise `DamagedStreamError` where it is not good."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = codecs.iterdecode(pieces, "utf-8")
        self._damage: DamagedStreamError | None = None
        self._text = ""
        self._position = 0

    def value(self) -> Any:
        """Take one whole value."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except RecursionError as error:
                raise DamagedStreamError("the JSON is nested too deeply") from error
            except ValueError as error:
                if self._is_hopeless(error) or not self._read_more():
                    raise self._broken(str(error)) from error
                continue
            # A number at the very end of what has arrived may go on in the next piece.
            if end < len(self._text) or not self._read_more():
                self._position = end
                return value

    def list_elements(self) -> Iterator[None]:
        """Enter a list; take each element while the iteration stands on it."""
        return self._members("[", "]")

    def object_keys(self) -> Iterator[str]:
        """Enter an object; take the value of each key while the iteration stands on it."""
        for _ in self._members("{", "}"):
            key = self.value()
            if not isinstance(key, str):
                raise self._broken("the key of a JSON object is not a string")
            self._take(":")
            yield key

    def finish(self) -> None:
        """Check that nothing follows, and that the stream ended as it should."""
        while True:
            self._skip_space()
            if self._position < len(self._text):
                raise DamagedStreamError("something follows the end of the JSON")
            if not self._read_more():
                break
        if self._damage:
            raise self._damage

    def _members(self, opening: str, closing: str) -> Iterator[None]:
        self._take(opening)
        if self._peek() != closing:
            yield
            while self._peek() != closing:
                self._take(",")
                yield
        self._take(closing)

    def _take(self, character: str) -> None:
        found = self._peek()
        if found != character:
            raise self._broken(f"{character!r} expected in the JSON, {found!r} found")
        self._position += 1

    def _peek(self) -> str:
        while True:
            self._skip_space()
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_more():
                raise self._broken("the JSON ends early")

    def _skip_space(self) -> None:
        match = _SPACE.match(self._text, self._position)
        self._position = match.end() if match else self._position

    def _read_more(self) -> bool:
        """Read as much again as is held, so that retries cost no more than reading; False at the end."""
        held = len(self._text) - self._position
        if held > LARGEST_VALUE:
            raise DamagedStreamError(f"no JSON value ends within {LARGEST_VALUE} characters")
        parts, arrived = [self._text[self._position :]], 0
        try:
            for piece in self._pieces:
                parts.append(piece)
                arrived += len(piece)
                if arrived > held:
                    break
        except DamagedStreamError as damage:
            self._damage = damage
        except UnicodeDecodeError as error:
            self._damage = DamagedStreamError(f"the JSON is not UTF-8 text: {error.reason}")
        self._text, self._position = "".join(parts), 0
        return arrived > 0

    def _is_hopeless(self, error: ValueError) -> bool:
        """Tell whether the value would be broken however it went on."""
        if not isinstance(error, json.JSONDecodeError):
            return True
        could_end_later = error.msg.startswith("Unterminated string")
        return not could_end_later and error.pos < len(self._text) - LONGEST_WORD

    def _broken(self, cause: str) -> DamagedStreamError:
        """Return what ended the text, if that is known, rather than how the parser noticed."""
        return self._damage or DamagedStreamError(cause)
