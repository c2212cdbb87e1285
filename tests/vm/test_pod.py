"""The rights of the DaemonSet, as its container in a guest has them: what holds there is what other tests stand on."""

import json
import os

import pytest

from .daemonset import in_pod, mounts
from .guest import Guest

PROBE = """
import json, os, sys
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
places = ["/", "/sys", "/proc/sys", *json.loads(sys.argv[1])]
def refuses(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    except OSError as error:
        return error.errno
print(json.dumps({
    "status": {name: status[name] for name in sys.argv[2].split()},
    "read_only": {place: bool(os.statvfs(place).f_flag & os.ST_RDONLY) for place in places},
    "new_file": refuses("/new"),
    "firmware": os.listdir("/sys/firmware"),
    "memory": open("/proc/kcore", "rb").read(1).decode(),
    "second": open("/proc/2/comm").read(),
    "own_cgroup": open("/proc/self/cgroup").read(),
    "its_cgroup": open("/proc/1/cgroup").read(),
}))
"""
NOTHING = dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16) | {"NoNewPrivs": "1"}


@pytest.mark.parametrize("variant", ["base", "takeover", "observe-only"])
def test_a_pod_may_write_to_its_host_paths_and_nothing_else(guest_73: Guest, variant: str) -> None:
    wanted = {mount["target"]: mount["read_only"] for mount in mounts(variant)}
    probe = ["python", "-S", "-c", PROBE, json.dumps(list(wanted)), " ".join(NOTHING)]

    told = json.loads(guest_73.run(in_pod(guest_73, variant, "", probe)).stdout)

    assert told["status"] == NOTHING
    assert told["read_only"] == {"/": True, "/sys": True, "/proc/sys": True} | wanted
    assert os.strerror(told["new_file"]) == "Read-only file system"
    assert (told["firmware"], told["memory"]) == ([], "")
    assert told["second"] == "kthreadd\n"  # it is the host's pid namespace,
    assert (told["own_cgroup"], told["its_cgroup"].strip()) == ("0::/\n", "0::/../../..")  # and a cgroup's of its own
