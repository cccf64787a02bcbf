"""A restore is never short of what somebody else's open transaction hides; the long form: `tests/chaos/foreign.py`."""

import pytest

from processor.demo.kafka import Broker
from tests.chaos.foreign import play


@pytest.mark.parametrize("number", [0, 2], ids=["aborted", "committed"])
def test_a_restore_waits_for_a_foreign_transaction_and_then_has_everything(broker: Broker, number: int) -> None:
    """Committed states above the open transaction are waited for, however it ends."""
    played = play(broker, number)
    assert (played.waited, played.short) == (True, [])
