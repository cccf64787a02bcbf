"""The numbers of the product fit each other, or are refused when the program starts."""

from typing import Any

import pytest

from processor.core.rules import OnboardingForm, Rules, WithdrawalAction

TOO_FAR: list[tuple[dict[str, Any], str]] = [
    ({"pause_min_ms": 0}, "pause_min must be above 0 and at most pause_max"),
    ({"pause_min_ms": 2, "pause_max_ms": 1}, "pause_min must be above 0 and at most pause_max"),
    (
        {"pause_max_ms": 2, "pause_min_ms": 1, "pauses_total_max_ms": 1},
        "pause_max must be at most pauses_total_max",
    ),
    ({"pauses_count_max": 0}, "pauses_count_max must be at least 1"),
    ({"lead_ms": -1}, "lead must not be negative"),
    ({"boost_before_plug_in_ms": -1}, "boost_before_plug_in must not be negative"),
    ({"give_up_after_ms": 0}, "give_up_after must be above 0"),
    ({"onboarding_life_ms": 0}, "onboarding_life must be above 0"),
    ({"not_found_memory_ms": 0}, "not_found_memory must be above 0"),
    ({"question_every_ms": -1}, "question_every must not be negative"),
    ({"questions_at_once_max": 0}, "questions_at_once_max must be at least 1"),
    ({"chargers_max": 0}, "chargers_max must be at least 1"),
    ({"look_up_delays_ms": ()}, "look_up_delays must rise"),
    ({"look_up_delays_ms": (2, 1)}, "look_up_delays must rise"),
    (
        {"withdrawal_action": WithdrawalAction.UNENROL},
        "unenrol needs the onboarding form upsert: the guide's form cannot enrol such a home again",
    ),
    ({"secret": b""}, "the secret must have 1 to 64 bytes"),
    ({"secret": b"x" * 65}, "the secret must have 1 to 64 bytes"),
]
JUST_RIGHT: list[dict[str, Any]] = [
    {"pause_min_ms": 1, "pause_max_ms": 1, "pauses_total_max_ms": 1},
    {"pauses_count_max": 1},
    {"lead_ms": 0},
    {"boost_before_plug_in_ms": 0},
    {"give_up_after_ms": 1},
    {"onboarding_life_ms": 1},
    {"not_found_memory_ms": 1},
    {"question_every_ms": 0},
    {"questions_at_once_max": 1},
    {"chargers_max": 1},
    {"look_up_delays_ms": (0,)},
    {"onboarding_form": OnboardingForm.UPSERT, "withdrawal_action": WithdrawalAction.UNENROL},
    {"onboarding_form": OnboardingForm.UPSERT},
    {"secret": b"x"},
    {"secret": b"x" * 64},
]


@pytest.mark.parametrize(("numbers", "sentence"), TOO_FAR, ids=str)
def test_numbers_that_contradict_each_other_are_refused(numbers: dict[str, Any], sentence: str) -> None:
    """The sentence names the number at fault."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole sentence is compared
        Rules(**numbers)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("numbers", JUST_RIGHT, ids=str)
def test_numbers_at_the_edge_are_taken(numbers: dict[str, Any]) -> None:
    """What is just allowed is allowed."""
    rules = Rules(**numbers)
    assert all(getattr(rules, name) == value for name, value in numbers.items())


def test_the_defaults_are_those_of_the_design() -> None:
    """Pauses of 5 to 60 minutes, 120 in all, three of them, a minute ahead; look-ups after 0, 1, 10 and 60 minutes."""
    rules = Rules()
    minutes = (rules.pause_min_ms, rules.pause_max_ms, rules.pauses_total_max_ms, rules.lead_ms)
    assert [ms / 60_000 for ms in minutes] == [5, 60, 120, 1]
    assert rules.pauses_count_max == 3
    assert [ms / 60_000 for ms in rules.look_up_delays_ms] == [0, 1, 10, 60]
    assert (rules.boost_before_plug_in_ms, rules.give_up_after_ms) == (300_000, None)
    assert [ms / 3_600_000 for ms in (rules.onboarding_life_ms, rules.not_found_memory_ms)] == [24, 24]
    assert (rules.onboarding_form, rules.withdrawal_action) == (OnboardingForm.GUIDE, WithdrawalAction.OFFBOARD)
    assert not rules.onboarding_elsewhere


def test_the_secret_is_not_printed() -> None:
    """Nor anything else of the numbers: `config env` tells them."""
    assert repr(Rules(secret=b"hush")) == "Rules(...)"
