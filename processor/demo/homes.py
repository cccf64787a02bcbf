"""The households of the demo: made-up homes with one charger or two, and where each stands in the story.

Here lives who takes part and what each has said last; what happens next is `traffic.py`'s. The idea: nobody could take
these homes for real ones. Their addresses are on Example Street, their postcode and their meters cannot exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from processor.core.events import Enrolment

POSTCODE = "ZZ99 9ZZ"
"""A postcode that no house has."""
_MPAN_PRIMES = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)


@dataclass(slots=True)
class Home:
    """A household. `fair_from_ms`: when it may withdraw; None: its onboarding may have met a fault."""

    number: int
    site_id: str
    takes_part: bool
    consented_at_ms: int = 0
    fair_from_ms: int | None = None
    withdrawn_at_ms: int = 0
    chargers: "list[Charger]" = field(default_factory=list)


@dataclass(slots=True)
class Charger:
    """A charger of the story, and what its driver did last."""

    charger_id: str
    home: Home
    plugged_at_ms: int = 0
    live_until_ms: int = 0
    boosted_until_ms: int = 0
    consent_told_ms: int = -1
    """The consent that its plug-ins have carried."""
    removed_at_ms: int = 0


def mpan_of(number: int) -> str:
    """A made-up MPAN core of 13 digits with a right check digit. No distributor has the number 99."""
    digits = f"99{number:010d}"
    check = sum(int(digit) * prime for digit, prime in zip(digits, _MPAN_PRIMES, strict=True)) % 11 % 10
    return f"{digits}{check}"


def settle(chargers: int) -> Iterator[Charger]:
    """Homes for so many chargers: every fourth has two, every eighth takes no part in Axle's programme."""
    home_number = charger_number = 0
    while charger_number < chargers:
        home_number += 1
        home = Home(home_number, f"home-{home_number:03d}", takes_part=home_number % 8 != 5)
        for _ in range(min(2 if home_number % 4 == 3 else 1, chargers - charger_number)):
            charger_number += 1
            charger = Charger(f"c-{charger_number:03d}", home)
            home.chargers.append(charger)
            yield charger


def enrolment_of(home: Home) -> Enrolment:
    """What a plug-in tells Axle of the home."""
    consented_at_ms = home.consented_at_ms
    address = f"{home.number} Example Street"
    return Enrolment(mpan_of(home.number), POSTCODE, address, consented_at_ms, consented_at_ms)


def left_at_ms(charger: Charger) -> int:
    """When it was withdrawn or disconnected last; 0: never."""
    return max(charger.home.withdrawn_at_ms, charger.removed_at_ms)


def stays(charger: Charger) -> bool:
    """Whether a consent stands that is newer than that."""
    return charger.home.consented_at_ms > left_at_ms(charger)


def has_company(charger: Charger) -> bool:
    """Whether another charger of the home stays, so that this one can be disconnected alone."""
    home = charger.home
    others = (one for one in home.chargers if one is not charger)
    return any(one.consent_told_ms == home.consented_at_ms and stays(one) for one in others)


def may_withdraw(charger: Charger, now_ms: int) -> bool:
    """Whether Axle has had the time to take the charger in, so that a withdrawal can be followed to its end."""
    fair_from_ms = charger.home.fair_from_ms
    told = charger.consent_told_ms == charger.home.consented_at_ms
    return stays(charger) and told and fair_from_ms is not None and now_ms >= fair_from_ms
