"""The simulator's call log: its numbers and its limits."""

from processor.demo.axle_calls import CallLog


def test_the_log_forgets_its_oldest_calls() -> None:
    """Only so many calls stay in memory; numbers go on, and a page begins where memory does."""
    log = CallLog(calls_max=10)
    for _ in range(15):
        log.append({})
    assert (len(log), log.last) == (10, 15)
    assert [call["n"] for call in log.since(0, 2)] == [6, 7]
    assert [call["n"] for call in log.since(14)] == [15]
    assert log.since(15) == log.since(99) == []


def test_the_log_is_bounded_in_bytes() -> None:
    """Long calls push out old ones before they fill the memory."""
    log = CallLog(bytes_max=4000)
    for _ in range(5):
        log.append({"body": "x" * 1000})
    assert [call["n"] for call in log] == [3, 4, 5]
