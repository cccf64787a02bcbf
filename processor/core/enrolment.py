"""Joining Axle: which onboarding is owed, what its answers do, and whose a looked-up charger is.

Here live the effects of design 4, rule 4; which of them runs when is a row of `decide.py`, and how a household or a
charger leaves again is in `leaving.py`. The one idea: a consent is used once for each charger, and personal data is
kept exactly as long as an onboarding that needs it is owed.
"""

from hashlib import blake2b

from msgspec.structs import replace

from processor.core.events import Found, PlugIn
from processor.core.outputs import AlarmKind, ConsentState, Enrolled, Status
from processor.core.registers import consent_of
from processor.core.site import (
    Charger,
    Enrolling,
    Site,
    consent_state,
    may_enrol,
)
from processor.core.turn import Turn

OLDER_MARKS_MAX = 4
SITES_MAX = 32
"""Sites of one household at Axle that are remembered beside the one it is at."""


def fingerprint(text: str, secret: bytes) -> str:
    """A keyed fingerprint of an MPAN or a site id, 32 hex digits: comparable, but not turned back without the key."""
    return blake2b(text.encode(), key=secret, digest_size=16).hexdigest()


def begin(turn: Turn) -> None:
    """Owe an onboarding when the plug-in at hand brings a consent that was not used for this charger yet."""
    event = turn.event
    if not isinstance(event, PlugIn) or event.enrolment is None or turn.charger.enrolled is Enrolled.ENROLLED:
        return
    # Its own consent has to stand: a newer one, brought by another charger, says nothing of the data in this plug-in.
    if not may_enrol(replace(turn.site, consent=consent_of(event)), turn.charger):
        return
    known = turn.site.enrolment
    if known is None or known.consented_at_ms <= event.enrolment.consented_at_ms:
        mark = fingerprint(event.enrolment.mpan, turn.rules.secret)
        older_marks = _older_marks(turn.site, mark)
        turn.site = replace(turn.site, enrolment=event.enrolment, mpan_mark=mark, older_marks=older_marks)
    turn.charger = replace(turn.charger, enrolling=turn.charger.enrolling or Enrolling(turn.now_ms))


def end(turn: Turn, before: Site) -> None:
    """Drop personal data unless an onboarding that may still happen needs it.

    And tell of a consent that came, where no onboarding is owed that would tell of it.
    """
    site = turn.site
    came = consent_state(site) is ConsentState.GIVEN and consent_state(before) is not ConsentState.GIVEN
    if came and not any(charger.enrolling for charger in site.chargers):
        turn.tell_enrolment()
    enrolment = site.enrolment
    if enrolment is None:
        return
    withdrew_since = site.withdrawal is not None and site.withdrawal.at_ms >= enrolment.consented_at_ms
    if withdrew_since:
        _stop_joining(turn)
    if withdrew_since or not any(c.enrolling and may_enrol(site, c) for c in site.chargers):
        turn.site = replace(turn.site, enrolment=None)


def _stop_joining(turn: Turn) -> None:
    """The consent that chargers were to join with was withdrawn: a newer one has to come with data of its own."""
    for charger in turn.site.chargers:
        if charger.enrolling:
            turn.charger = replace(charger, enrolling=None)
            turn.settle_question(Status.NOT_ENROLLED, "The consent to ask Axle with was withdrawn; no pauses.")


def may_be_elsewhere(turn: Turn) -> bool:
    """Whether others may have onboarded this charger without our knowing."""
    charger = turn.charger
    if not turn.rules.onboarding_elsewhere or turn.site.offboarding or charger.leaving or charger.enrolling:
        return False
    return charger.enrolled is Enrolled.UNKNOWN


def is_worth_a_look_up(turn: Turn) -> bool:
    """Whether others may have onboarded this charger since Axle last did not know it."""
    not_found_at_ms = turn.charger.not_found_at_ms
    forgotten = not_found_at_ms is None or turn.now_ms >= not_found_at_ms + turn.rules.not_found_memory_ms
    return forgotten and may_be_elsewhere(turn)


def enrol(turn: Turn, axle_site_id: str, axle_asset_id: str) -> None:
    """Axle has the charger: keep its ids, use up the consent. An open question is asked from here on."""
    move_to(turn, axle_site_id)
    turn.charger = replace(turn.charger, axle_asset_id=axle_asset_id)
    conclude(turn, Enrolled.ENROLLED)


def move_to(turn: Turn, axle_site_id: str) -> None:
    """The household is at this site of Axle's. One of ours that it was at before is not forgotten: it has to go too."""
    site = turn.site
    left = site.left_axle_site_ids
    if site.axle_site_id is not None and site.mpan_mark is not None:
        left = (site.axle_site_id, *left)
    turn.site = replace(
        site,
        axle_site_id=axle_site_id,
        kept_axle_site_ids=without(site.kept_axle_site_ids, axle_site_id),
        left_axle_site_ids=without(left, axle_site_id),
    )


def without(site_ids: tuple[str, ...], axle_site_id: str) -> tuple[str, ...]:
    """These sites but for one, each of them once, the newest of them."""
    return tuple(dict.fromkeys(each for each in site_ids if each != axle_site_id))[:SITES_MAX]


def conclude(turn: Turn, standing: Enrolled) -> None:
    """An onboarding came to an end, this way or that: the consent that it was made with is used up for this charger."""
    consent, enrolment = turn.site.consent, turn.site.enrolment
    used = consent.at_ms if consent else turn.charger.consent_used_at_ms
    if used is not None and enrolment and turn.charger.enrolling:
        used = min(used, enrolment.consented_at_ms)
    turn.charger = replace(turn.charger, enrolled=standing, enrolling=None, consent_used_at_ms=used)
    turn.tell_enrolment()


def is_ours(turn: Turn, found: Found) -> bool:
    """Whether a looked-up charger hangs on the meter that we onboarded: never take over another household.

    Where we onboarded none and others may have, what Axle says of the charger is trusted, as long as it does not put
    two chargers of one home at two sites.
    """
    site = turn.site
    if site.mpan_mark is None:
        apart = found.axle_site_id != site.axle_site_id and any(c.axle_asset_id for c in _others(turn))
        return turn.rules.onboarding_elsewhere and not apart
    # What is adopted has to hang on the newest meter; what leaves may hang on one that was corrected since.
    marks = (site.mpan_mark, *site.older_marks) if turn.charger.leaving else (site.mpan_mark,)
    return hangs_on(found, marks, turn.rules.secret)


def hangs_on(found: Found, marks: tuple[str | None, ...], secret: bytes) -> bool:
    """Whether a looked-up charger is at a meter with one of these fingerprints."""
    return found.mpan is not None and fingerprint(found.mpan, secret) in marks


def refuse_for_our_fault(turn: Turn) -> None:
    """Axle called our onboarding invalid: the wish stays, the consent is unused, and a person must look."""
    turn.alarm(AlarmKind.OUR_REQUEST_INVALID, "onboard")
    turn.charger = replace(turn.charger, enrolled=Enrolled.REFUSED, enrolling=None)
    turn.tell_enrolment()
    turn.settle_question(Status.FALLBACK, "Axle could not read our onboarding; the driver's wish stays in force.")


def _others(turn: Turn) -> list[Charger]:
    """The site's other chargers."""
    return [charger for charger in turn.site.chargers if charger.charger_id != turn.charger.charger_id]


def _older_marks(site: Site, mark: str) -> tuple[str, ...]:
    """The fingerprints to keep beside a new one: what was onboarded under an older one may be at Axle still."""
    older = (site.mpan_mark, *site.older_marks)
    return tuple(dict.fromkeys(each for each in older if each not in {None, mark}))[:OLDER_MARKS_MAX]
