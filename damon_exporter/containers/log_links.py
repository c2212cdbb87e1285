"""Names of pods from the names of the links that the kubelet keeps to their containers' logs."""

import re
from collections.abc import Mapping
from pathlib import Path

from damon_exporter.containers.errors import NamesUnavailable
from damon_exporter.containers.named import Named

_LINK = re.compile(
    r"(?P<pod>[a-z0-9.-]+)_(?P<namespace>[a-z0-9-]+)_(?P<container>[a-z0-9-]+)-(?P<id>[0-9a-f]{64})\.log"
)
"""The kubelet cuts names to 255 bytes, before the ending: then the id is incomplete, and they name nobody."""


def read_log_links(folder: Path) -> Mapping[str, Named]:
    """Return the containers by id that ``folder``, the host's /var/log/containers, has links for.

    Only names are read, no link is followed. Without such a folder there are none; raises `NamesUnavailable` if it
    cannot be read.
    """
    try:
        names = [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return {}
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        cure = "mount the host's /var/log/containers there, read-only, and run as uid 0"
        raise NamesUnavailable(folder, f"{cause}; {cure}") from error
    links = (_LINK.fullmatch(name) for name in names)
    return {link["id"]: Named(link["namespace"], link["pod"], link["container"]) for link in links if link}
