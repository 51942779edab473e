"""Starts the real program in a directory of its own and reads its tables with DuckDB."""

import tempfile

import pytest

from program import TEN_PAST, Greyhound, questions

TOPICS = ["connection", "auth", "message", "delivery", "push", "membership", "revocation"]


@pytest.fixture
def greyhound():
    with tempfile.TemporaryDirectory(prefix="greyhound-") as home:
        program = Greyhound(home)
        program.clock = TEN_PAST
        try:
            yield program
        finally:
            if program.child and program.child.poll() is None:
                program.kill()


@pytest.fixture(name="questions")
def the_questions():
    return questions()
