"""Fixtures of the tests of training: the command line in processes of its own."""

import os
from collections.abc import Iterator

import pytest

from tests.training.processes import Commands


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Runs commands in processes that can be killed."""
    if not hasattr(os, "fork"):
        pytest.skip("processes are forked, which this system cannot")
    opened = Commands()
    yield opened
    opened.close()
