from collections.abc import Iterator

import pytest

from fuzz.jobs import Jobs, jobs


@pytest.fixture(scope="session")
def server() -> Iterator[Jobs]:
    """One process that forks for all jobs."""
    with jobs() as one:
        yield one
