"""The unit of deploy/systemd: that systemd understands every line, and how much it gives away."""

import configparser
import re
import subprocess
from pathlib import Path

from running import run

from damon_exporter.config.intervals import LONGEST_AGGREGATION_US
from damon_exporter.config.schemes import LONGEST_CHECK
from damon_exporter.kernel.claim import LONGEST_WAIT
from damon_exporter.kernel.commands import DEADLINE_SECONDS
from damon_exporter.targets import COMMAND_GRACE_SECONDS
from damon_exporter.tenure import RELEASE_PATIENCE
from damon_exporter.units import parse_duration

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "damon-exporter.service"
PAGE = (ROOT / "docs/deploy.md").read_text()


def analyze(verb: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = ["systemd-analyze", verb, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def with_a_program(folder: Path) -> Path:
    """The unit where what it starts is there."""
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/damon-exporter", "/bin/true"))
    return unit


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    verified = analyze("verify", with_a_program(tmp_path))
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_a_line_that_it_does_not_understand_would_be_noticed(tmp_path: Path) -> None:
    unit = with_a_program(tmp_path)
    unit.write_text(unit.read_text().replace("ProtectHome=", "ProtectHouse="))
    assert "Unknown key 'ProtectHouse'" in analyze("verify", unit).stderr


def test_the_page_states_how_exposed_systemd_thinks_it_is() -> None:
    (stated,) = re.findall(r"`systemd-analyze security` says (\d\.\d)", PAGE)
    tenths = round(float(stated) * 10)
    if f"(systemd {analyze('--version').stdout.split()[1]})" in PAGE:
        assert is_as_shut_as(tenths)
        assert not is_as_shut_as(tenths - 1)
    else:  # which may weigh otherwise, and ask for more
        assert is_as_shut_as(tenths + 10)


def is_as_shut_as(tenths: int) -> bool:
    """Whether systemd calls the unit no more exposed than this, from 0 to 100."""
    return analyze("security", "--offline=true", f"--threshold={tenths}", UNIT).returncode == 0


def test_it_has_no_capability_and_writes_below_two_folders_of_the_host() -> None:
    service = read()
    assert (service["User"], service["CapabilityBoundingSet"], service["NoNewPrivileges"]) == ("root", "", "yes")
    assert (service["ProtectSystem"], service["ReadOnlyPaths"].split()[0]) == ("strict", "/sys")
    assert service["ReadWritePaths"].split() == ["-/sys/kernel/mm/damon", "-/sys/kernel/tracing"]


def test_the_defaults_name_a_configuration_that_is_good(tmp_path: Path) -> None:
    (path,) = re.findall(r'^ARGS="--config.file=(.*)"$', (FOLDER / "damon-exporter.default").read_text(), re.M)
    assert path == "/etc/damon-exporter/config.yaml"
    checked = run(f"--config.file={FOLDER / Path(path).name}", "--config.check")
    assert (checked.returncode, checked.stdout) == (0, "the configuration is good\n")


def read() -> dict[str, str]:
    """The last assignment of each key of the service."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign] - keys as they are written
    parser.read(UNIT)
    return dict(parser["Service"])


def test_the_exporter_alone_speaks_and_is_told() -> None:
    service = read()
    told = (service["Type"], service["NotifyAccess"], service["KillMode"], service["ExecReload"])
    assert told == ("notify", "main", "mixed", "/bin/kill -HUP $MAINPID")


def test_the_longest_command_may_be_waited_for_and_the_kernel_be_put_back_after_it() -> None:
    under_way = DEADLINE_SECONDS + LONGEST_WAIT * LONGEST_AGGREGATION_US / 1e6
    with_schemes = under_way + parse_duration(LONGEST_CHECK) / 1e6
    assert f"at most {under_way:g} s" in PAGE
    assert f"at most {with_schemes:g} s" in PAGE
    assert with_schemes + RELEASE_PATIENCE + DEADLINE_SECONDS + COMMAND_GRACE_SECONDS < int(read()["TimeoutStopSec"])
