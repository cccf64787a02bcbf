"""T7, the short form: ends of transactions that come late tear nothing with the suspicion rule, and do without it."""

import pytest

from tests.chaos import end_txn


@pytest.mark.kafka
@pytest.mark.timeout(180)
def test_late_ends_tear_nothing() -> None:
    """Of ten late ends none is obeyed and none tears a transaction; without the rule the same procedure sees tears."""
    said: list[str] = []
    report = end_txn.run(short=True, say=said.append)
    assert (report["delayed_end_txn"], report["slow"], report["cut"]) == (10, 5, 5), report
    assert (report["torn"], report["late_ends_obeyed"], report["lost"], report["duplicates"]) == (0, 0, 0, 0), report
    assert int(str(report["torn_without_rule"])) > 0, report
    assert said
