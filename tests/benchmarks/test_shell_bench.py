"""What an event costs in the shell stays what it is: counted, not timed, so that no machine is too slow for it."""

import pytest

from tests.benchmarks.shell_bench import calls_made

CALLS_MAX = 790
"""5 % more than are made. What a change adds on the way of every event has to be worth it; then this is raised."""


@pytest.mark.anyio
async def test_a_plug_in_calls_no_more_functions_than_it_did() -> None:
    """Read, decided, asked about, decided again and written twice: the functions that are called for it are counted."""
    assert await calls_made(200) <= CALLS_MAX
