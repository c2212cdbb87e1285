"""The Debian mirror that this machine's apt already uses, asked about suites that are not in its sources.

Nothing of the machine's own apt state is changed: lists, cache and sources live in a folder of ours.
"""

import getpass
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # Debian 12's holds trixie's and sid's keys


class AptError(RuntimeError):
    """Apt could not do what was asked; the message is its own."""


def _run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        raise AptError(f"{command[0]} is not here: Debian's kernels can only be fetched on Debian or Ubuntu")
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)


def configured_mirror() -> str:
    """The URI of the Debian archive that this machine's apt is configured for.

    Raises:
        AptError: No Debian archive has been fetched from yet.
    """
    listing = _run("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
    for line in listing.stdout.splitlines():
        origin_and_label, _, uri = line.rpartition(" ")
        if origin_and_label == "Debian Debian":  # the security archive's label is Debian-Security
            return uri
    raise AptError("apt knows no Debian archive on this machine: run `apt-get update` as root, then again")


# `apt-get update` of ours must not run the hooks of the machine's own.
CONFIGURATION = """\
Dir::Etc::SourceList "{folder}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{folder}/lists";
Dir::State::Status "/dev/null";
Dir::Cache "{folder}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Update::Error-Mode "any";
APT::Sandbox::User "{user}";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Archive:
    """Some suites of the Debian mirror, with lists and sources kept below ``folder``."""

    def __init__(self, folder: Path, suites: Iterable[str]) -> None:
        self._suites = tuple(suites)
        self._sources = folder / "sources.list"
        self._configuration = folder / "apt.conf"
        for needed in ("lists/partial", "cache/archives/partial"):
            (folder / needed).mkdir(parents=True, exist_ok=True)
        self._configuration.write_text(CONFIGURATION.format(folder=folder, user=getpass.getuser()))

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return _run(program, "-c", str(self._configuration), *arguments, cwd=cwd)

    def refresh(self) -> None:
        """Fetch the lists again; one second when nothing has changed.

        Raises:
            AptError: A list could not be fetched. Those that could are there, and so are older ones.
        """
        mirror = configured_mirror()
        self._sources.write_text(
            "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in self._suites)
        )
        done = self._apt("apt-get", "update")
        if done.returncode != 0:
            raise AptError(done.stderr.strip().partition("\n")[0])

    def packages(self, pattern: str) -> list[str]:
        """Names of packages that match a regular expression, as the last fetched lists have them."""
        found = self._apt("apt-cache", "search", "--names-only", pattern)
        return [line.split(" ", 1)[0] for line in found.stdout.splitlines()]

    def unpack(self, packages: Iterable[str], into: Path) -> None:
        """Download packages and unpack them, without installing.

        Raises:
            AptError: A package could not be downloaded or unpacked.
        """
        names = list(packages)
        done = self._apt("apt-get", "download", *names, cwd=into)
        if done.returncode != 0:
            raise AptError(f"cannot download {' '.join(names)}: {done.stderr.strip()}")
        for package in into.glob("*.deb"):
            done = _run("dpkg-deb", "--extract", str(package), str(into))
            if done.returncode != 0:
                raise AptError(f"cannot unpack {package.name}: {done.stderr.strip()}")
            package.unlink()
