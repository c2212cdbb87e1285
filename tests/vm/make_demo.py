"""Makes the recording that `damon-exporter demo` plays: `make demo-recording`.

A stock kernel is booted, a workload whose memory changes all the time runs in it, and the exporter's own `record`
writes what DAMON sees of that process and of all physical memory.
"""

import shlex
import sys
from pathlib import Path

from .exporter import free_damon
from .guest import Guest
from .kernels import find_kernel

SERIES = "7.3"
SECONDS = 200
MOST_BYTES = 1 << 20
RECORDING = Path(__file__).parents[2] / "damon_exporter/recordings/demo.damon"

WORKLOAD = "python workloads/mixed.py --comm service"
CONFIG = """\
kernel: {settle: 0s}
monitors:
- name: node
  operations: paddr
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 40, max: 200}
- name: processes
  operations: vaddr
  processes: {match: [{comm: service}]}
  intervals: {sample: 10ms, aggregation: 200ms, update: 1s}
  regions: {min: 40, max: 200}
"""

ABOUT = """\
# demo.damon

What `damon-exporter demo` plays: a process whose memory changes all the time, and all physical memory beside it, as
DAMON of a real kernel saw them. `make demo-recording` makes it anew.

- kernel: Debian's {kernel}, booted in QEMU with 1500 MB
- workload: `{workload}` (tests/vm/workloads/mixed.py: quiet, growing, stairs, zigzag, warm, shrinking)
- command: `{record}`, with this `config.yaml`:

```yaml
{config}```
"""


def main() -> None:
    """Boot, record, and put the file in its place; fails if it is larger than 1 MiB."""
    with Guest(find_kernel(SERIES)) as guest:
        free_damon(guest)
        guest.put("/config.yaml", CONFIG.encode())
        record = f"python -m damon_exporter record --config.file config.yaml --duration {SECONDS}s -o demo.damon"
        with guest.spawn(f"cd / && {WORKLOAD}") as workload:
            workload.first_line()
            done = guest.run(
                ["/bin/sh", "-c", f"cd / && {record} --workload {shlex.quote(WORKLOAD)}"], timeout=SECONDS + 60
            )
        recording = guest.get("/demo.damon")
        release = guest.kernel.release
        sys.stderr.write(f"{done.stderr}{len(recording)} bytes from {release}\n")
    if len(recording) > MOST_BYTES:
        sys.exit(f"{len(recording)} bytes are more than the {MOST_BYTES} that may be shipped")
    RECORDING.write_bytes(recording)
    RECORDING.with_suffix(".md").write_text(
        ABOUT.format(kernel=release, workload=WORKLOAD, record=record, config=CONFIG)
    )


if __name__ == "__main__":
    main()
