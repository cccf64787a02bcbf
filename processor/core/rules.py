"""The numbers of the product, in one place; each is a setting, and these are the defaults.

No behaviour lives here but the check that the numbers fit each other. The source of each rule is named beside it.
"""

from enum import StrEnum

from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.core.value import Value


class OnboardingForm(StrEnum):
    """Which of Axle's two onboardings is used."""

    GUIDE = "guide"
    """The Flex Lite guide's: onboard-site-and-asset for the first charger, an asset more for each further one."""
    UPSERT = "upsert"
    """The newer one: the same call for every charger, safe to repeat."""


class WithdrawalAction(StrEnum):
    """What Axle is told when a household withdraws."""

    OFFBOARD = "offboard"
    """Delete the site and its chargers: the guide's way. The household loses its access to payments."""
    UNENROL = "unenrol"
    """Leave the proposition; the site and its payments stay."""


class Rules(Value, frozen=True):
    """Limits that `decide` obeys. Raises ValueError when they contradict each other.

    The caps on pauses are ours: Axle documents one pause of 30 minutes by default and shows one of 60 in its guide.
    """

    pause_min_ms: int = 5 * MINUTE_MS
    """A shorter pause is dropped, and so is a pause that would leave a shorter stretch of charging beside it."""
    pause_max_ms: int = 60 * MINUTE_MS
    """An answer with a longer pause is rejected whole."""
    pauses_total_max_ms: int = 120 * MINUTE_MS
    """Pauses served and answered since the newest plug-in, in all."""
    pauses_count_max: int = 3
    """How many pauses there may be since the newest plug-in: many cars do not wake up again after several."""
    lead_ms: int = 60_000
    """No pause begins sooner than this after it was decided: a charger needs time to hear of it."""
    boost_before_plug_in_ms: int = 5 * MINUTE_MS
    """A boost up to this long before a plug-in belongs to it: drivers tap first and plug in then."""
    give_up_after_ms: int | None = None
    """Stop asking this long after the question, even while a pause would still be possible; None asks on."""
    onboarding_life_ms: int = 24 * HOUR_MS
    """An onboarding that came to no end in this time is dropped, and the personal data with it."""
    onboarding_form: OnboardingForm = OnboardingForm.GUIDE
    withdrawal_action: WithdrawalAction = WithdrawalAction.OFFBOARD
    onboarding_elsewhere: bool = False
    """Whether chargers may be onboarded by others: one that we do not know is looked up at Axle."""
    not_found_memory_ms: int = 24 * HOUR_MS
    """How long a charger that Axle did not know is not looked up again."""
    question_every_ms: int = 5_000
    """The budget of questions that one charger's events may cause: one in this time, in the long run ..."""
    questions_at_once_max: int = 30
    """... and so many in one go. What exceeds it is published at once as ever, and asked about a little later."""
    chargers_max: int = 64
    """How many chargers one site may have. A driver at one more is heard, but nothing is kept of it."""
    look_up_delays_ms: tuple[int, ...] = (0, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS)
    """When a withdrawn site is looked for whose onboarding was never answered; the last 404 closes the matter."""
    secret: bytes = b"axle-processor"
    """Key of the fingerprint that an onboarding leaves of its MPAN. Set your own: MPANs are few enough to try."""

    def __post_init__(self) -> None:
        checks = (
            (0 < self.pause_min_ms <= self.pause_max_ms, "pause_min must be above 0 and at most pause_max"),
            (self.pause_max_ms <= self.pauses_total_max_ms, "pause_max must be at most pauses_total_max"),
            (self.pauses_count_max >= 1, "pauses_count_max must be at least 1"),
            (self.lead_ms >= 0, "lead must not be negative"),
            (
                self.look_up_delays_ms == tuple(sorted(self.look_up_delays_ms)) != (),
                "look_up_delays must rise",
            ),
            (self.boost_before_plug_in_ms >= 0, "boost_before_plug_in must not be negative"),
            (self.give_up_after_ms is None or self.give_up_after_ms > 0, "give_up_after must be above 0"),
            (self.onboarding_life_ms > 0, "onboarding_life must be above 0"),
            (self.not_found_memory_ms > 0, "not_found_memory must be above 0"),
            (self.question_every_ms >= 0, "question_every must not be negative"),
            (self.chargers_max >= 1, "chargers_max must be at least 1"),
            (self.questions_at_once_max >= 1, "questions_at_once_max must be at least 1"),
            (
                self.withdrawal_action is WithdrawalAction.OFFBOARD or self.onboarding_form is OnboardingForm.UPSERT,
                "unenrol needs the onboarding form upsert: the guide's form cannot enrol such a home again",
            ),
            (0 < len(self.secret) <= 64, "the secret must have 1 to 64 bytes"),
        )
        for holds, sentence in checks:
            if not holds:
                raise ValueError(sentence)

    def __repr__(self) -> str:
        return "Rules(...)"
