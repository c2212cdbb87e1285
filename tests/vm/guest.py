"""A booted kernel that commands, files and background processes can be sent into.

    with Guest(find_kernel("6.12")) as guest:
        print(guest.run("uname -r").stdout)

One guest serves any number of commands, also at the same time from several threads.
"""

import base64
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .channel import Channel, GuestError, GuestGoneError, GuestTimeoutError, Reply
from .initramfs import required_program, root_image
from .kernels import Kernel

Command = str | Sequence[str]
"""A shell script, or a program and its arguments. ``python`` is the tests' own Python."""

KERNEL_OPTIONS = "console=ttyS0 quiet panic=-1 oops=panic tsc=reliable clearcpuid=cx16"
"""``cx16``: Debian 12's QEMU 7.2 spoils the flags when a cmpxchg16b is followed by an access that faults, and one boot
of 6.12 in eight died of that. So the kernel's allocator takes its other way; programs still see the instruction, which
NumPy asks for. ``tsc``: the cheapest clock, which counts as steadily as the emulator does."""
GIVING_WAY = ("nice", "-n", "5")
"""Scenarios wait for what they measure; tests beside them that have deadlines on the host cannot. But these must not
starve them: with 10 a guest beside a browser had a twelfth of a processor."""
ICOUNT = "shift=2,sleep=on"
"""The guest's clock counts its instructions, 2^2 ns for each, and goes on by itself while there is nothing to do. So a
busy host makes a scenario longer, not another: in the guest's own time nothing comes late."""
BOOT_TIMEOUT = 300.0
REPLY_TIME = 300.0
"""Seconds that the emulated guest may take to answer what it has at hand: the first exporter imports for 10 seconds of
the guest, which a busy host makes minutes. Only a guest that hangs takes longer, and is asked nothing more."""
SLOWEST = 10.0
"""Seconds of the host that one of a busy guest may take."""
CONSOLE_TAIL = 60
SHOWN_COMMAND = 300


class CommandFailedError(GuestError):
    """A command in the guest ended with another code than 0."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command wrote and how it ended."""

    stdout: str
    stderr: str
    returncode: int
    """Negative: the signal that ended it."""


def _argv(command: Command) -> list[str]:
    return ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)


def _shortened(command: Command) -> str:
    text = command if isinstance(command, str) else " ".join(command)
    return text if len(text) <= SHOWN_COMMAND else f"{text[:SHOWN_COMMAND]} ..."


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


class Guest:
    """A kernel running in QEMU under software emulation, whose accessed bits are faithful."""

    def __init__(
        self,
        kernel: Kernel,
        *,
        memory: str = "1500M",
        cpus: int = 1,
        append: str = "",
        modules: Sequence[str] = (),
        icount: str = ICOUNT,
        qemu: Sequence[str] = (),
    ) -> None:
        """Boot it; returns when commands can be run.

        Args:
            kernel: What to boot.
            memory: Size as QEMU writes it; the root file system takes 130 MB of it.
            cpus: How many CPUs it sees. With more than one, QEMU 7.2 now and then runs code that the kernel has just
                patched ("Oops: int3" in the console): not for tests that everybody runs.
            append: Further words for the kernel's command line.
            modules: Kernel modules to load at boot, ``("zram",)``.
            icount: How fast the guest's clock goes, as QEMU's option of that name has it.
            qemu: Further arguments for QEMU, ``("-numa", "node,memdev=low")``.

        Raises:
            MissingToolError: QEMU or busybox is not installed.
            GuestGoneError: The kernel did not come up; the message ends with its console.
        """
        self.kernel = kernel
        self._folder = tempfile.TemporaryDirectory(prefix="damon-vm-")
        self._console = Path(self._folder.name) / "console"
        initrd = Path(self._folder.name) / "initrd"
        initrd.write_bytes(root_image(kernel, tuple(modules)))
        ours, its = socket.socketpair()
        with its:
            self._qemu = subprocess.Popen(
                [*self._qemu_command(initrd, memory, cpus, append, icount, its.fileno()), *qemu],
                pass_fds=[its.fileno()],
            )
        self._channel = Channel(ours)
        self.lost = False
        self._spawned: list[GuestProcess] = []
        try:
            self._call("clock", BOOT_TIMEOUT)
        except GuestError:
            self.close()
            raise
        initrd.unlink()

    def _qemu_command(self, initrd: Path, memory: str, cpus: int, append: str, icount: str, channel: int) -> list[str]:
        arguments = {
            "accel": "tcg",
            "icount": icount,
            "cpu": "max",
            "smp": str(cpus),
            "m": memory,
            "kernel": str(self.kernel.image),
            "initrd": str(initrd),
            "append": f"{KERNEL_OPTIONS} {append}",
            "display": "none",
            "monitor": "none",
            "nic": "none",
            "serial": f"file:{self._console}",
            "chardev": f"socket,id=agent,fd={channel}",
        }
        devices = ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent"]
        options = [word for name, value in arguments.items() for word in (f"-{name}", value)]
        return [
            *GIVING_WAY,
            str(required_program("qemu-system-x86_64")),
            "-nodefaults",
            "-no-reboot",
            *options,
            *devices,
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the guest; nothing of it remains."""
        with suppress(OSError):
            self._channel.close()
        self._qemu.kill()
        self._qemu.wait()
        self._folder.cleanup()

    def console(self) -> str:
        """The last lines of the kernel's console."""
        with suppress(FileNotFoundError):
            return "\n".join(self._console.read_text(errors="replace").splitlines()[-CONSOLE_TAIL:])
        return ""

    def _call(self, operation: str, reply_within: float = REPLY_TIME, **arguments: object) -> Reply:
        try:
            return self._channel.call(operation, reply_within, **arguments)
        except (GuestGoneError, GuestTimeoutError) as error:
            self.lost = True
            console = f"\n--- console of {self.kernel.release}\n{self.console()}"
            raise type(error)(f"{error}{console}") from error

    def run(
        self,
        command: Command,
        *,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        uid0_nocaps: bool = False,
        check: bool = True,
    ) -> Result:
        """Run a command to its end.

        Args:
            command: A shell script, or a program and its arguments.
            timeout: Seconds after which it is killed.
            env: Variables to add to its environment.
            uid0_nocaps: As uid 0 with an empty capability set, an empty bounding set and no_new_privs.
            check: Raise if it does not end with 0.

        Raises:
            CommandFailedError: It ended with another code than 0, and ``check`` is set.
            GuestTimeoutError: It was killed after the time-out.
        """
        reply = self._call(
            "run",
            SLOWEST * timeout + REPLY_TIME,
            command=_argv(command),
            timeout=timeout,
            env=dict(env or {}),
            uid0_nocaps=uid0_nocaps,
        )
        stdout, stderr, returncode = _text(reply["stdout"]), _text(reply["stderr"]), reply["returncode"]
        written = f"{_shortened(command)}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        if returncode is None:
            raise GuestTimeoutError(f"still running after {timeout:g} s: {written}")
        if check and returncode != 0:
            raise CommandFailedError(f"exit code {returncode}: {written}")
        return Result(stdout, stderr, returncode)

    def python(
        self,
        source: str,
        *arguments: str,
        timeout: float = 60.0,
        env: Mapping[str, str] | None = None,
        uid0_nocaps: bool = False,
        check: bool = True,
    ) -> Result:
        """Run Python source in the guest; otherwise as ``run``."""
        return self.run(
            ["python", "-c", source, *arguments],
            timeout=timeout,
            env=env,
            uid0_nocaps=uid0_nocaps,
            check=check,
        )

    def spawn(
        self, command: Command, *, env: Mapping[str, str] | None = None, uid0_nocaps: bool = False
    ) -> "GuestProcess":
        """Start a command and leave it running; use it in a ``with`` to have it killed at the end."""
        reply = self._call("spawn", command=_argv(command), env=dict(env or {}), uid0_nocaps=uid0_nocaps)
        self._spawned.append(GuestProcess(self, reply["pid"]))
        return self._spawned[-1]

    def stop_all(self) -> None:
        """Kill what was spawned and still runs."""
        while self._spawned:
            self._spawned.pop().stop()

    def clock(self) -> float:
        """The guest's time in seconds, from its boot."""
        return float(self._call("clock")["seconds"])

    def sleep(self, seconds: float) -> None:
        """Let so much of the guest's time pass."""
        self._call("sleep", SLOWEST * seconds + REPLY_TIME, seconds=seconds)

    def kill(self, pid: int, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to one process."""
        self._call("signal_process", pid=pid, signal=int(signal_number))

    def get(self, path: str) -> bytes:
        """The content of a file in the guest."""
        return base64.b64decode(self._call("get", path=path)["content"])

    def get_all(self, folder: str, *, but: str) -> dict[str, bytes]:
        """The contents of all files below a folder in the guest that can be read, but of those whose name ends so."""
        contents = self._call("get_all", path=folder, but=but)["contents"]
        return {path: base64.b64decode(content) for path, content in contents.items()}

    def fetch(self, port: int, path: str) -> tuple[int | None, str]:
        """Status and body of what a server in the guest answers; no status if none listens there."""
        reply = self._call("fetch", port=port, path=path)
        return reply["status"], base64.b64decode(reply["body"]).decode()

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file in the guest, with the folders that it needs."""
        self._call("put", path=path, content=base64.b64encode(content).decode(), mode=mode)


@dataclass(frozen=True, slots=True)
class GuestProcess:
    """A command that runs in the background in a guest."""

    guest: Guest
    pid: int

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill it with its children, and wait until it is gone."""
        self.guest._call("signal_group", pid=self.pid, signal=int(signal.SIGKILL))
        self.wait()

    def kill(self, signal_number: int = signal.SIGKILL) -> None:
        """Send a signal to it, not to its children."""
        self.guest.kill(self.pid, signal_number)

    def wait(self, timeout: float = 20.0) -> int:
        """Its exit code when it has ended; negative for a signal.

        Raises:
            GuestTimeoutError: It still runs after ``timeout`` seconds.
        """
        returncode: int | None = self.poll(timeout)
        if returncode is None:
            raise GuestTimeoutError(f"process {self.pid} still runs after {timeout:g} s: {self.stderr()}")
        return returncode

    def poll(self, timeout: float = 0.0) -> int | None:
        """Its exit code, or None if it still runs."""
        reply = self.guest._call("wait", SLOWEST * timeout + REPLY_TIME, pid=self.pid, timeout=timeout)
        returncode: int | None = reply["returncode"]
        return returncode

    def stdout(self) -> str:
        """What it has written so far."""
        return _text(self.guest._call("output", pid=self.pid)["stdout"])

    def stderr(self) -> str:
        """What it has complained so far."""
        return _text(self.guest._call("output", pid=self.pid)["stderr"])

    def first_line(self, timeout: float = 60.0) -> str:
        """The first line that it writes, when it has written it.

        Raises:
            CommandFailedError: It ended without one.
            GuestTimeoutError: Nothing came within ``timeout`` seconds.
        """
        deadline = self.guest.clock() + timeout
        while self.guest.clock() < deadline:
            returncode = self.poll()
            line, newline, _ = self.stdout().partition("\n")
            if newline:
                return line
            if returncode is not None:
                raise CommandFailedError(f"exit code {returncode} without a word: {self.stderr()}")
            self.guest.sleep(0.05)
        raise GuestTimeoutError(f"process {self.pid} wrote no line in {timeout:g} s: {self.stderr()}")
