"""docs/deploy.md, and the blocks of code in it."""

import re
import subprocess
import textwrap

from deploy.rendered import ROOT

PAGE = (ROOT / "docs/deploy.md").read_text()


def blocks(language: str, holds: str) -> list[str]:
    """The blocks of a language in which this stands."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGE, re.M | re.S)
    return [textwrap.dedent(text) for _, text in found if holds in text]


def block(language: str, holds: str) -> str:
    (one,) = blocks(language, holds)
    return one


def shell(script: str) -> str:
    """What a script prints that succeeds, run in the checkout."""
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout
