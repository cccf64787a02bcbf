"""Axle's clock and ours: what is told, how often, and that a slow network is no difference."""

from email.utils import formatdate

import pytest
from structlog.testing import capture_logs

from processor.shell.clock_skew import APART_SECONDS_MAX, LOOK_SECONDS, ClockSkew
from processor.shell.metrics import Metrics
from tests.shell.parts import HandClock


class Evening:
    """A clock, and what the metrics tell."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.skew = ClockSkew(self.clock, self.metrics)

    def hear(self, ahead_seconds: float, took_seconds: float = 0.0) -> None:
        """An answer comes, whose header is so far ahead of our clock."""
        date = formatdate(self.clock.now_ms() / 1000 + ahead_seconds, usegmt=True)
        self.skew.hear(date, self.clock.monotonic() - took_seconds)

    @property
    def told(self) -> float | None:
        return self.metrics.registry.get_sample_value("axle_processor_axle_clock_ahead_seconds")


@pytest.mark.parametrize(
    ("ahead", "took", "told"),
    [(0, 0, 0), (-1, 0, 0), (-4, 5, 0), (30, 5, 30), (-30, 0, -29), (-30, 5, -24), (3, 0, 3)],
)
def test_only_what_is_sure_counts(ahead: float, took: float, told: float) -> None:
    """The header has whole seconds and was written at some time during the call; that explains much."""
    evening = Evening()
    evening.hear(ahead, took)
    assert evening.told == told


@pytest.mark.parametrize(("ahead", "warns"), [(APART_SECONDS_MAX, 0), (APART_SECONDS_MAX + 1, 1), (-60, 1)])
def test_a_clock_that_is_wrong_is_told(ahead: float, warns: int) -> None:
    """More than ten seconds are a warning, with the difference."""
    evening = Evening()
    with capture_logs() as logs:
        evening.hear(ahead)
    assert [log["log_level"] for log in logs] == ["warning"] * warns
    assert all("time service" in log["event"] and abs(log["axle_ahead_seconds"]) > 10 for log in logs)


def test_it_is_told_once_a_minute() -> None:
    """However many answers come, one in a minute is looked at; one that mends it is seen at the next look."""
    evening = Evening()
    with capture_logs() as logs:
        for _ in range(50):
            evening.hear(100)
            evening.clock.turn(1)
        assert len(logs) == 1
        evening.clock.turn(LOOK_SECONDS)
        evening.hear(100)
        assert len(logs) == 2
    evening.clock.turn(LOOK_SECONDS)
    evening.hear(0)
    assert evening.told == 0


@pytest.mark.parametrize("date", [None, "", "soon", "Sat, 99 Nov 99999 99:99:99 GMT"])
def test_nonsense_says_nothing(date: str | None) -> None:
    """A header that is missing, or no date, changes nothing and raises nothing."""
    evening = Evening()
    with capture_logs() as logs:
        evening.skew.hear(date, evening.clock.monotonic())
    assert (logs, evening.told) == ([], 0)
