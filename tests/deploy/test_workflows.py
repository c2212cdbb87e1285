"""The files for forges and for git: they call the Makefile, and nothing else knows how."""

import re
import sys
from typing import Any

import pytest
import yaml
from image_build import CHECKOUT, run

WORKFLOWS: dict[str, dict[Any, Any]] = {
    path.name: yaml.safe_load(path.read_text()) for path in (CHECKOUT / ".github/workflows").glob("*.yml")
}
JOBS = {
    f"{file} {name}": job
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
    if "uses" not in job
}
PRE_COMMIT = CHECKOUT / ".pre-commit-config.yaml"
each_job = pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)


def made(text: str) -> set[str]:
    """The targets that are made by the commands in a text."""
    return set(re.findall(r"\bmake (?:--silent )?([\w-]+)", text))


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("apt-get"))


def test_workflows_make_what_the_makefile_knows() -> None:
    wanted = made("\n".join(commands(job) for job in JOBS.values()))

    assert wanted == {"test", "image", "dist", "version"}
    for target in wanted:
        run("make", "--dry-run", target, cwd=CHECKOUT)


def test_nothing_is_released_that_integration_has_not_tested() -> None:
    jobs = WORKFLOWS["release.yml"]["jobs"]

    assert jobs["test"] == {"uses": "./.github/workflows/ci.yml"}
    assert "workflow_call" in WORKFLOWS["ci.yml"][True]  # `on`, to YAML
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "test": None,
        "dist": "test",
        "publish": "dist",
        "image": "dist",
    }


@each_job
def test_a_job_ends_in_time_and_writes_only_where_it_must(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 90
    assert job.get("permissions", {"contents": "read"}) in ({"contents": "read"}, {"id-token": "write"})
    assert all(workflow["permissions"] == {"contents": "read"} for workflow in WORKFLOWS.values())


@each_job
def test_actions_are_of_one_major_version_and_leave_no_credentials(job: dict[str, Any]) -> None:
    used = [step for step in job["steps"] if "uses" in step]

    assert [step["uses"] for step in used if not re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", step["uses"])] == []
    for step in used:
        assert not step["uses"].startswith("actions/checkout@") or step["with"]["persist-credentials"] is False


@each_job
def test_no_command_is_put_together_from_what_others_can_write(job: dict[str, Any]) -> None:
    assert "${{" not in commands(job)


def test_pre_commit_accepts_its_configuration_and_checks_as_integration_does() -> None:
    hooks = [hook for repo in yaml.safe_load(PRE_COMMIT.read_text())["repos"] for hook in repo["hooks"]]

    run(sys.executable, "-m", "pre_commit", "validate-config", PRE_COMMIT)
    assert [hook["entry"] for hook in hooks] == ["make check"]
    assert re.search(r"^test: .*\bcheck\b", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
