"""Making one zlib stream (RFC 1950) of texts that grow side by side.

Each text is deflated on its own. Deflate blocks that end on a byte boundary can be put one behind the other:
joining texts copies bytes and compresses nothing twice.
"""

import shutil
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

LEVEL = 9
HEADER = b"\x78\xda"
EMPTY_LAST_BLOCK = b"\x03\x00"
_ADLER_MODULUS = 65521


def _deflater() -> "zlib._Compress":
    return zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _joined_adler(first: int, second: int, second_length: int) -> int:
    """Return the Adler-32 sum of two byte strings put together, from the sum of each."""
    low, low_2 = first & 0xFFFF, second & 0xFFFF
    high = (first >> 16) + (second >> 16) + second_length * (low - 1)
    return high % _ADLER_MODULUS << 16 | (low + low_2 - 1) % _ADLER_MODULUS


class GrowingText:
    """A text that is deflated into a file without a name, which vanishes with `close`. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the text
        self._deflater = _deflater()
        self._adler = 1
        self._length = 0

    def write(self, text: str) -> None:
        """Add to the end."""
        data = text.encode()
        self._adler = zlib.adler32(data, self._adler)
        self._length += len(data)
        self._file.write(self._deflater.compress(data))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def copy_to(self, stream: "ZlibStream") -> None:
        """Put the whole text at the end of a stream; nothing can be written afterwards."""
        self._file.write(self._deflater.flush(zlib.Z_SYNC_FLUSH))
        self._file.seek(0)
        shutil.copyfileobj(self._file, stream.file)
        stream.count(self._adler, self._length)


class ZlibStream:
    """A zlib stream that is written to a file from its start to its end. Raises OSError."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._adler = 1
        file.write(HEADER)

    def write(self, text: str) -> None:
        """Add a text."""
        data, deflater = text.encode(), _deflater()
        self.file.write(deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))
        self.count(zlib.adler32(data), len(data))

    def count(self, adler: int, length: int) -> None:
        """Take deflated data that were copied into the file into the check sum."""
        self._adler = _joined_adler(self._adler, adler, length)

    def finish(self) -> None:
        """End the stream."""
        self.file.write(EMPTY_LAST_BLOCK + self._adler.to_bytes(4, "big"))
