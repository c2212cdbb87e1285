"""Reloads: the configuration file is read again, on SIGHUP or on request over HTTP."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from stat import S_IFREG, S_ISREG
from typing import Self

from damon_exporter.config import ConfigError, load
from damon_exporter.kernel.errors import Ending, KernelError
from damon_exporter.observation import Observation
from damon_exporter.repeating import Repeating

log = logging.getLogger(__name__)


class ReloadFailed(Exception):
    """The old configuration runs on; the message says why, one line for each problem."""


class UnderWay(ReloadFailed):
    """Another reload has not ended yet, or the exporter is about to end."""


class Reloader:
    """Has an observation go over to what its file says by now: checked and rehearsed as a whole, or not at all."""

    def __init__(self, config_file: Path | None) -> None:
        self._file = config_file
        self._observation: Observation | None = None
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def reloading(self, observation: Observation) -> Iterator[None]:
        """It has started: until the block ends it can be reloaded. A reload that is under way then is broken off."""
        self._observation = observation
        try:
            yield
        finally:
            observation.cease()
            with self._one_at_a_time:
                self._observation = None

    def reload(self, in_turn: bool = False) -> None:
        """Do it, ``in_turn`` after one that is under way; raises `ReloadFailed`, and then the old one runs on."""
        if not self._one_at_a_time.acquire(blocking=in_turn):
            raise UnderWay("another reload is under way: nothing is changed by this one, try again when it has ended")
        try:
            if self._observation is None:
                raise UnderWay("the exporter is just starting or ending: try again in a moment")
            self._go_over(self._observation)
        finally:
            self._one_at_a_time.release()

    def _go_over(self, observation: Observation) -> None:
        try:
            self._require_regular_file()
            observation.reload(load(self._file))
        except (ConfigError, KernelError) as problem:
            observation.note_failed_reload()
            log.error("reload failed, the old configuration runs on: %s", problem)
            raise ReloadFailed(str(problem)) from problem
        except Ending as end:
            raise UnderWay("the exporter is ending: the reload was broken off") from end
        log.info("configuration reloaded from %s", self._file or "nothing: there is no --config.file")

    def _require_regular_file(self) -> None:
        """Raise `ConfigError` for a pipe, say, which nobody may ever write to again."""
        try:
            mode = self._file.stat().st_mode if self._file else S_IFREG
        except OSError:
            return  # reading it says why
        if not S_ISREG(mode):
            raise ConfigError([f"{self._file} is no regular file: it cannot be read again; restart the exporter"])

    def answer(self) -> tuple[HTTPStatus, str]:
        """Do it, and tell how it went, as HTTP does."""
        try:
            self.reload()
        except UnderWay as problem:
            return HTTPStatus.CONFLICT, str(problem)
        except ReloadFailed as problem:
            return HTTPStatus.INTERNAL_SERVER_ERROR, str(problem)
        return HTTPStatus.OK, "reloaded"

    def on_signal(self) -> None:
        """Do it when its turn has come; what went wrong has been logged."""
        try:
            self.reload(in_turn=True)
        except UnderWay as problem:
            log.error("%s", problem)
        except ReloadFailed:
            pass


class Hangups:
    """Reloads when asked to, in a thread of its own while its ``with`` block lasts: a reload may take minutes.

    Whoever asks meanwhile has it done once more afterwards, as the file may have changed. ``on_failure`` is that of
    `Repeating`.
    """

    def __init__(self, reload: Callable[[], None], on_failure: Callable[[], None]) -> None:
        self._reload = reload
        self._asked = threading.Event()
        self._thread = Repeating("reload", self._work, on_failure)

    def ask(self) -> None:
        """Have it done; returns at once."""
        self._asked.set()
        self._thread.wake()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.stop()

    def _work(self) -> None:
        if self._asked.is_set():
            self._asked.clear()
            self._reload()
