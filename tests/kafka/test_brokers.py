"""Brokers die while events flow: the short form of `tests/chaos/brokers.py`.

How long events stand still meanwhile is a figure of the long form: a busy machine makes it as long as it likes.
"""

import pytest

from tests.chaos.brokers import rolling_kills, too_small


@pytest.mark.kafka
@pytest.mark.skipif(too_small() is not None, reason=too_small() or "")
def test_a_broker_that_dies_costs_time_and_no_event() -> None:
    """A node of three is killed and comes back: two processors stay, each event has one outcome, in unbroken chains."""
    said: list[str] = []
    report = rolling_kills(1, said.append)
    told = "\n".join(said)
    print(report)
    assert report["broker_kills"] == 1
    assert (report["lost"], report["duplicates"], report["order_violations"]) == (0, 0, 0), told
    assert report["violations"] == dict.fromkeys(report["violations"], 0), told  # type: ignore[call-overload]
    assert report["axle_differs"] == [], told
