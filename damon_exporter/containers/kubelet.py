"""Names of pods from the kubelet, which knows them all, with their labels."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from damon_exporter.containers.errors import NamesUnavailable
from damon_exporter.containers.pods import PodList, read_pods


@dataclass(frozen=True, slots=True)
class Limits:
    """What the kubelet may take: time in all, and bytes of its answer, expanded."""

    seconds: float = 5.0
    body_bytes: int = 16 << 20


class Kubelet:
    """Asks for the pods of a node. ``url`` is https://NODE:10250; raises ValueError for what is no such URL.

    ``token_file`` holds the service account's token. It is read each time, as the token changes; if there is no such
    file, we ask without. ``ca_file`` is who may have signed the kubelet's certificate, None whoever browsers trust.
    """

    def __init__(self, url: str, token_file: Path, ca_file: Path | None, limits: Limits | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not https://NODE:10250: the token must go nowhere else, and not in the clear")
        self.url = url.rstrip("/") + "/pods"
        self._token_file = token_file
        self._ca_file = ca_file
        self._limits = limits or Limits()

    def pods(self) -> PodList:
        """Return the pods of the node; raises `NamesUnavailable`."""
        try:
            from damon_exporter.containers.kubelet_request import ask
        except ImportError as error:
            raise NamesUnavailable(self.url, "requests is missing: pip install damon-exporter[kubelet]") from error
        body = ask(self.url, self._headers(), self._ca_file, self._limits.seconds, self._limits.body_bytes)
        try:
            return read_pods(body)
        except ValueError as error:
            raise NamesUnavailable(self.url, f"its answer is {error}; give the URL of a kubelet") from error

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token_file.read_bytes().decode("ascii").strip()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self._no_token("cannot be read") from error
        if not token.isprintable() or " " in token or not token:
            raise self._no_token("holds no token")
        return {"Authorization": f"Bearer {token}"}

    def _no_token(self, fault: str) -> NamesUnavailable:
        return NamesUnavailable(self.url, f"{self._token_file} {fault}: give the file of a service account's token")
