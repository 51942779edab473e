"""Starts the real program in a directory of its own and reads its tables with DuckDB."""

import os
import re
import tempfile

import pytest

from program import ROOT, Greyhound

TOPICS = ["connection", "auth", "message", "delivery", "push"]


@pytest.fixture
def greyhound():
    with tempfile.TemporaryDirectory(prefix="greyhound-") as home:
        program = Greyhound(home)
        try:
            yield program
        finally:
            os.chdir(ROOT)
            if program.child and program.child.poll() is None:
                program.kill()


@pytest.fixture
def questions():
    """The SQL of README.md, as it stands there: by the word that its comment begins with."""
    blocks = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return {re.match(r"-- (\w+):", block)[1]: block for block in blocks}
