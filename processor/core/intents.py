"""Calls to Axle that are owed. The state says what remains to be done; the shell does it and reports back an event.

`owed` derives the calls from a site afresh, so a restart, a retry and a changed mind need no bookkeeping: what is not
owed any more is not found here. Which calls are safe to repeat is said beside each: all of them are, because Axle has
no idempotency key and a crash may repeat any call that was in flight.
"""

from processor.core.events import Enrolment
from processor.core.outputs import Enrolled
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import Schedule
from processor.core.site import Charger, Site, boost_window, gives_up_at_ms, looks_at_ms, to_send, withdrawn
from processor.core.value import Value


class Onboard(Value, frozen=True):
    """Tell Axle of a charger; with `axle_site_id` it joins that site. Repeated: 409, then a look-up adopts it.

    In the form `upsert` a repeated call is the same call. `override_withdrawal`: the household consented again after
    a withdrawal, which that form wants to be told.
    """

    site_id: str
    charger_id: str
    enrolment: Enrolment
    power_kw: float | None
    axle_site_id: str | None
    form: OnboardingForm = OnboardingForm.GUIDE
    override_withdrawal: bool = False
    not_before_ms: int = 0


class LookUp(Value, frozen=True):
    """Ask Axle for its ids of a charger, and whose meter it hangs on. A reading: repeat at will."""

    site_id: str
    charger_id: str
    attempt: int
    not_before_ms: int = 0
    for_question: bool = False
    """A question waits for it, not an enrolment."""


class AskSchedule(Value, frozen=True):
    """Put a question. Repeated: Axle takes the newest schedule; an answer to an older number is ignored."""

    site_id: str
    charger_id: str
    number: int
    axle_asset_id: str
    schedule: Schedule
    boosted: bool
    not_before_ms: int = 0


class Remove(Value, frozen=True):
    """Delete one charger of several. Repeated: 404, which is done."""

    site_id: str
    charger_id: str
    axle_asset_id: str
    not_before_ms: int = 0


class Offboard(Value, frozen=True):
    """Delete the site and all its chargers, or only `unenrol` it. Repeated: 404, or unenrolled already, is done."""

    site_id: str
    axle_site_id: str
    unenrol: bool = False
    not_before_ms: int = 0


Intent = Onboard | LookUp | AskSchedule | Remove | Offboard


def owed(site: Site, now_ms: int, rules: Rules) -> tuple[Intent, ...]:
    """The calls that this site owes at `now_ms`: at most one about enrolment, and one question per charger.

    Leaving goes before joining: a newer consent waits until Axle has confirmed what an older withdrawal asked for.
    """
    calls: list[Intent] = []
    enrolment_call = _leaving(site, rules) or _joining(site, rules)
    if enrolment_call:
        calls.append(enrolment_call)
    if site.offboarding is None and not withdrawn(site):
        for charger in site.chargers:
            call = _question(site, charger, now_ms, rules)
            if call:
                calls.append(call)
    return tuple(calls)


def _leaving(site: Site, rules: Rules) -> Intent | None:
    if site.offboarding and site.axle_site_id:
        unenrols = rules.withdrawal_action is WithdrawalAction.UNENROL
        # A household comes back to an unenrolled site by its newer consent; one whose last charger left is deleted.
        keeps_site = unenrols and site.erasing is None and (withdrawn(site) or site.offboarding.asker is not None)
        return Offboard(site.site_id, site.axle_site_id, keeps_site)
    removals: list[tuple[int, Remove]] = []
    look_ups: list[LookUp] = []
    for charger in site.chargers:
        if charger.leaving is None:
            continue
        if charger.axle_asset_id:
            removal = Remove(site.site_id, charger.charger_id, charger.axle_asset_id)
            removals.append((charger.leaving.since_ms, removal))
        else:
            at_ms = looks_at_ms(charger.leaving, rules)
            look_ups.append(LookUp(site.site_id, charger.charger_id, charger.leaving.look_ups, at_ms))
    if removals:
        return min(removals, key=lambda dated: dated[0])[1]
    return min(look_ups, key=lambda call: call.not_before_ms, default=None)


def _joining(site: Site, rules: Rules) -> Intent | None:
    charger = next((charger for charger in site.chargers if charger.enrolling), None)
    if site.offboarding or site.enrolment is None or charger is None:
        return None
    if charger.enrolling and charger.enrolling.adopting:
        return LookUp(site.site_id, charger.charger_id, 0)
    return Onboard(
        site.site_id,
        charger.charger_id,
        site.enrolment,
        charger.power_kw,
        site.axle_site_id,
        rules.onboarding_form,
        override_withdrawal=rules.onboarding_form is OnboardingForm.UPSERT and site.withdrawal is not None,
    )


def _question(site: Site, charger: Charger, now_ms: int, rules: Rules) -> Intent | None:
    question = charger.question
    if question is None or charger.leaving or now_ms >= gives_up_at_ms(charger, question, now_ms, rules):
        return None
    if question.looking_up:
        return LookUp(site.site_id, charger.charger_id, 0, question.not_before_ms, for_question=True)
    if charger.enrolled is not Enrolled.ENROLLED or charger.axle_asset_id is None:
        return None
    schedule = to_send(charger, now_ms, rules)
    if not schedule:
        return None
    boosted = bool(boost_window(charger, now_ms, rules))
    return AskSchedule(
        site.site_id,
        charger.charger_id,
        question.number,
        charger.axle_asset_id,
        schedule,
        boosted,
        question.not_before_ms,
    )
