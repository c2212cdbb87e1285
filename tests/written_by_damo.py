"""Parameter files that damo writes, and what it would write to the kernel for them. It never reaches a kernel here.

damo looks at the running kernel when it writes a file, and as root would try things out there: it gets a mount
namespace in which there is no DAMON. What it would write is caught in place of writing it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NAMESPACE = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]  # it insists on being root
HIDE = 'mount -t tmpfs -o ro none /sys/kernel/mm && exec "$@"'
HIDDEN_KERNEL = ["unshare", *NAMESPACE, "sh", "-c", HIDE, "damo"]

IMPORT = """
import json, os, pathlib, sys
import damo
sys.path.insert(0, str(pathlib.Path(damo.__file__).parent))
"""

TREE = """
import _damo_fs, _damon_args, _damon_sysfs

file = sys.argv[1]
read = _damon_args.kdamonds_from_yaml_arg if file.endswith(".yaml") else _damon_args.kdamonds_from_json_arg
kdamonds, error = read(file)
if error is not None:
    sys.exit(f"damo does not read it: {error!r}")

tree = {}
_damo_fs.write_file = lambda path, value: tree.update({path: value})
_damo_fs.read_file = lambda path: ("-1", None)
of_no_release = ("complement", "operations_attrs", "sample", "preps")
os.path.isfile = os.path.isdir = lambda path: os.path.basename(path) not in of_no_release
error = _damon_sysfs.write_kdamonds_dir("", kdamonds)
if error is not None:
    sys.exit(error)
json.dump(tree, sys.stdout)
"""

NUMBERS = """
import _damo_fmt_str

def cut_off(function, text):
    try:
        return "%d" % function(text)
    except Exception as error:
        return None

asked = json.load(sys.stdin)
json.dump([cut_off(getattr(_damo_fmt_str, name), text) for name, text in asked], sys.stdout)
"""


def damo_writes(file: Path, *options: str) -> None:
    """Let ``damo args damon`` write a file; its name says whether JSON or YAML."""
    damo = [sys.executable, "-m", "damo.damo", "args", "damon", *options, "--out", str(file)]
    how = ["--format", "yaml" if file.suffix == ".yaml" else "json"]
    done = _run([*HIDDEN_KERNEL, *damo, *how], file.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.exists(), done.stdout + done.stderr


def damo_tree(file: Path) -> dict[str, str]:
    """What ``damo start`` would write for a file: each file below the folder of kdamonds, and its value."""
    done = _run([*HIDDEN_KERNEL, sys.executable, "-c", IMPORT + TREE, str(file)], file.parent)
    assert done.returncode == 0, done.stderr
    tree: dict[str, str] = json.loads(done.stdout)
    return tree


def damo_numbers(asked: Sequence[tuple[str, object]]) -> list[str | None]:
    """What damo's functions make of numbers, as it would write it; None where it fails."""
    done = _run([sys.executable, "-c", IMPORT + NUMBERS], None, json.dumps(asked))
    assert done.returncode == 0, done.stderr
    found: list[str | None] = json.loads(done.stdout)
    return found


def _run(command: Sequence[str], home: Path | None, given: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": str(home)} if home else None
    return subprocess.run(
        command, input=given, check=False, capture_output=True, text=True, cwd=home, env=environment, timeout=60
    )
