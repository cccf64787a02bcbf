"""The numbers of the product fit each other, or are refused when the program starts."""

from typing import Any

import pytest

from processor.core.rules import Rules


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"pause_min_ms": 0}, "pause_min"),
        ({"pause_min_ms": 2, "pause_max_ms": 1}, "pause_min"),
        ({"pause_max_ms": 2, "pause_min_ms": 1, "pauses_total_max_ms": 1}, "pauses_total_max"),
        ({"pauses_count_max": 0}, "pauses_count_max"),
        ({"lead_ms": -1}, "lead"),
        ({"look_up_delays_ms": ()}, "look_up_delays"),
        ({"look_up_delays_ms": (2, 1)}, "look_up_delays"),
        ({"secret": b""}, "secret"),
        ({"secret": b"x" * 65}, "secret"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, Any], sentence: str) -> None:
    """The sentence names the number at fault."""
    with pytest.raises(ValueError, match=sentence):
        Rules(**numbers)


def test_the_defaults_are_those_of_the_design() -> None:
    """Pauses of 5 to 60 minutes, 120 in all, three of them, a minute ahead; look-ups after 0, 1, 10 and 60 minutes."""
    rules = Rules()
    minutes = (rules.pause_min_ms, rules.pause_max_ms, rules.pauses_total_max_ms, rules.lead_ms)
    assert [ms / 60_000 for ms in minutes] == [5, 60, 120, 1]
    assert rules.pauses_count_max == 3
    assert [ms / 60_000 for ms in rules.look_up_delays_ms] == [0, 1, 10, 60]
    assert rules.give_up_after_ms is None
