"""``/-/reload``: the only page that changes anything, and only if ``--web.enable-lifecycle`` says so."""

from collections.abc import Callable
from enum import Enum
from http import HTTPStatus

PATH = "/-/reload"
METHODS = ("POST", "PUT")


class Outcome(Enum):
    """How a reload went, and what is answered."""

    DONE = HTTPStatus.OK
    FAILED = HTTPStatus.INTERNAL_SERVER_ERROR
    BUSY = HTTPStatus.CONFLICT


Told = tuple[Outcome, str]
Reload = Callable[[], Told]


DISABLED = "reloads over HTTP are off: start with --web.enable-lifecycle, or send SIGHUP"
