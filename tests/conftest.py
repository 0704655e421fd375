"""What tests of every folder may ask for."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository, in which README and Snakefile lie."""
    return Path(__file__).resolve().parent.parent
