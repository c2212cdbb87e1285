"""Archives that the kernel unpacks into its first root file system (``newc`` cpio).

Written here instead of by the cpio program so that a file need not lie where it is to appear.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

_NO_INODE, _ONE_LINK = 0, 1


def _entry(name: str, mode: int, mtime: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (_NO_INODE, mode, 0, 0, _ONE_LINK, mtime, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return _padded(header) + _padded(data)


def _padded(block: bytes) -> bytes:
    return block + b"\0" * (-len(block) % 4)


class Layer:
    """Files of a root image by their place in the guest. Later layers overwrite earlier ones."""

    def __init__(self) -> None:
        self._entries: dict[PurePosixPath, tuple[int, int, bytes | Path]] = {}

    def file(self, place: str | Path, content: bytes, *, executable: bool = False) -> None:
        """A file with this content."""
        self._entries[PurePosixPath(place)] = (stat.S_IFREG | (0o755 if executable else 0o644), 0, content)

    def link(self, place: str | Path, target: str) -> None:
        """A symbolic link."""
        self._entries[PurePosixPath(place)] = (stat.S_IFLNK | 0o777, 0, target.encode())

    def copy(self, source: Path, place: str | Path | None = None) -> None:
        """A file of the host, by default to the same place; links are followed.

        The time of change goes along, for Python takes a ``.pyc`` only if it bears its source's.
        """
        status = source.stat()
        entry = (status.st_mode, int(status.st_mtime), source)
        self._entries[PurePosixPath(place or os.path.normpath(source))] = entry

    def copies(self, sources: Iterable[Path]) -> None:
        """Files of the host, to the same places."""
        for source in sources:
            self.copy(source)

    def archive(self) -> bytes:
        """The layer as a cpio archive; the folders that it needs are in it."""
        folders = {parent for place in self._entries for parent in place.parents}
        parts = [_entry(str(folder), stat.S_IFDIR | 0o755, 0, b"") for folder in sorted(folders)]
        for place, (mode, mtime, content) in self._entries.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            parts.append(_entry(str(place), mode, mtime, data))
        parts.append(_entry("TRAILER!!!", 0, 0, b""))
        return b"".join(parts)

    def fingerprint(self) -> str:
        """What distinguishes this layer from one with other files, told without reading them."""
        lines = []
        for place, (mode, mtime, content) in sorted(self._entries.items()):
            size = content.stat().st_size if isinstance(content, Path) else content.hex()
            lines.append(f"{place} {mode} {mtime} {size}")
        return "\n".join(lines)
