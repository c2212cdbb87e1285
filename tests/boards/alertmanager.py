"""A real Alertmanager on a loopback port, and somebody who wants to be told."""

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debian_tools import debian_program
from prometheus_server import daemon, free_address

Alert = dict[str, Any]


@dataclass(frozen=True)
class Alertmanager:
    """Where it listens, and what it has told its receiver."""

    address: str
    told: list[Alert] = field(default_factory=list)

    def alerts(self) -> list[Alert]:
        """What its API has."""
        with urllib.request.urlopen(f"http://{self.address}/api/v2/alerts", timeout=10) as response:
            answer: list[Alert] = json.load(response)
            return answer


@contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """Tell a webhook of every alert within a second."""
    started = Alertmanager(free_address())
    with _webhook(started.told) as url:
        configuration = {
            "route": {"receiver": "here", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"},
            "receivers": [{"name": "here", "webhook_configs": [{"url": url}]}],
        }
        (folder / "alertmanager.yml").write_text(json.dumps(configuration))
        command = [
            *_with_templates(debian_program("prometheus-alertmanager", "/usr/bin/prometheus-alertmanager")),
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alertmanager",
            f"--web.listen-address={started.address}",
            "--cluster.listen-address=",
        ]
        with daemon(command, folder / "alertmanager.log"):
            yield started


def _with_templates(program: Path) -> list[str]:
    """Debian's reads its templates from below /usr/share only, where they are not, as the package is not installed.

    So they are laid over it, in a mount namespace that only this process sees.
    """
    share = program.parents[1] / "share"
    lay_over = f"mount -t overlay overlay -o lowerdir={share}:/usr/share /usr/share"
    return ["unshare", "--map-root-user", "--mount", "sh", "-ec", f'{lay_over}; exec "$0" "$@"', str(program)]


@contextmanager
def _webhook(told: list[Alert]) -> Iterator[str]:
    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
