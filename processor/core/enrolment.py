"""Joining and leaving Axle: what onboarding, look-ups, removal and offboarding do to a site.

Here live the effects of design 4, rules 4 and 5; which of them runs when is a row of `decide.py`. The one idea: what
Axle holds is only ever *known* from its answers, so an onboarding that was never answered is treated as one that may
have happened, and a withdrawn site goes on looking for it.
"""

from hashlib import blake2b

from msgspec.structs import replace

from processor.core.events import ConsentWithdrawn, Found, Onboarded, PlugIn
from processor.core.outputs import AlarmKind, Enrolled, Result, Status
from processor.core.registers import consent_of
from processor.core.site import (
    Asker,
    Charger,
    Enrolling,
    Leaving,
    Offboarding,
    is_live,
    looks_at_ms,
    may_enrol,
    withdrawn,
)
from processor.core.turn import Turn, asker_of


def fingerprint(mpan: str, secret: bytes) -> str:
    """A keyed fingerprint of an MPAN, 32 hex digits. It can be compared but not turned back without the key."""
    return blake2b(mpan.encode(), key=secret, digest_size=16).hexdigest()


def begin_enrolling(turn: Turn) -> None:
    """Owe an onboarding when the plug-in at hand brings a consent that was not used for this charger yet."""
    event = turn.event
    if not isinstance(event, PlugIn) or event.enrolment is None or turn.charger.enrolled is Enrolled.ENROLLED:
        return
    # Its own consent has to stand: a newer one, brought by another charger, says nothing of the data in this plug-in.
    if not may_enrol(replace(turn.site, consent=consent_of(event)), turn.charger):
        return
    turn.charger = replace(turn.charger, enrolling=turn.charger.enrolling or Enrolling(turn.now_ms))
    known = turn.site.enrolment
    if known is None or known.consented_at_ms <= event.enrolment.consented_at_ms:
        mark = fingerprint(event.enrolment.mpan, turn.rules.secret)
        turn.site = replace(turn.site, enrolment=event.enrolment, mpan_mark=mark)


def enrol(turn: Turn, axle_site_id: str, axle_asset_id: str) -> None:
    """Axle has the charger: keep its ids, use up the consent. An open question is asked from here on."""
    turn.site = replace(turn.site, axle_site_id=axle_site_id)
    turn.charger = replace(turn.charger, axle_asset_id=axle_asset_id)
    conclude(turn, Enrolled.ENROLLED)


def conclude(turn: Turn, standing: Enrolled) -> None:
    """An onboarding came to an end, this way or that: the consent is used up for this charger."""
    consent = turn.site.consent
    used = consent.at_ms if consent else turn.charger.consent_used_at_ms
    turn.charger = replace(turn.charger, enrolled=standing, enrolling=None, consent_used_at_ms=used)
    turn.tell_enrolment()


def is_ours(turn: Turn, found: Found) -> bool:
    """Whether a looked-up charger hangs on the meter that we onboarded: never take over another household."""
    if found.mpan is None or turn.site.mpan_mark is None:
        return False
    return fingerprint(found.mpan, turn.rules.secret) == turn.site.mpan_mark


def withdraw_site(turn: Turn) -> None:
    """Lift every pause at the site, forget the household, and owe Axle an offboarding until it confirms."""
    event = turn.event
    if not isinstance(event, ConsentWithdrawn):
        return
    asker = asker_of(event)
    for charger in turn.site.chargers:
        turn.focus(charger)
        _free(turn, asker, "The household withdrew; the driver's wish is in force without pauses.")
        _forget_at_withdrawal(turn)
    turn.focus(None)
    if turn.site.offboarding:
        turn.settle(turn.site.offboarding.asker, Result.COALESCED)
    turn.site = replace(turn.site, offboarding=Offboarding(turn.now_ms, asker))
    close_if_nothing_is_left(turn)
    turn.tell_enrolment()


def disconnect_charger(turn: Turn) -> None:
    """Lift the charger's pauses and owe Axle its removal, or the site's when it was the last one."""
    event = turn.event
    if not isinstance(event, ConsentWithdrawn):
        return
    asker = asker_of(event)
    _free(turn, asker, "The charger was disconnected; the driver's wish is in force without pauses.")
    charger = turn.charger
    if charger.leaving:
        turn.settle(charger.leaving.asker, Result.COALESCED)
    may_be_at_axle = charger.axle_asset_id or charger.leaving or _unanswered(turn)
    leaving = Leaving(turn.now_ms, asker) if may_be_at_axle else None
    enrolled = Enrolled.REMOVED if may_be_at_axle else charger.enrolled
    turn.charger = replace(charger, enrolled=enrolled, enrolling=None, leaving=leaving)
    if leaving is None:
        turn.settle(asker, Result.NOTHING_TO_OFFBOARD)
    _offboard_when_last(turn)
    turn.tell_enrolment()


def leave_again(turn: Turn, found: Onboarded | Found) -> None:
    """Axle turned out to have a charger that left meanwhile: owe its removal, or the site's offboarding."""
    turn.site = replace(turn.site, axle_site_id=found.axle_site_id)
    leaving = turn.charger.leaving or Leaving(turn.now_ms)
    turn.charger = replace(turn.charger, axle_asset_id=found.axle_asset_id, leaving=leaving, enrolled=Enrolled.REMOVED)
    if withdrawn(turn.site):
        _owe_offboarding(turn)
    else:
        _offboard_when_last(turn)


def nothing_found(turn: Turn) -> None:
    """A look-up for what may have been left behind found nothing: look again later, or close the matter.

    One that was made before its time, for another purpose, proves nothing.
    """
    leaving = turn.charger.leaving
    if leaving is None or turn.now_ms < looks_at_ms(leaving, turn.rules):
        return
    if leaving.look_ups + 1 < len(turn.rules.look_up_delays_ms):
        turn.charger = replace(turn.charger, leaving=replace(leaving, look_ups=leaving.look_ups + 1))
    else:
        stop_looking(turn)


def stop_looking(turn: Turn) -> None:
    """Nothing of this charger is at Axle: close its removal, and the site's offboarding when it waited for this."""
    leaving = turn.charger.leaving
    turn.charger = replace(turn.charger, leaving=None)
    if leaving:
        turn.settle(leaving.asker, Result.NOTHING_TO_OFFBOARD)
    close_if_nothing_is_left(turn)
    turn.tell_enrolment()


def close_if_nothing_is_left(turn: Turn) -> None:
    """Close an offboarding for which nothing is known at Axle and nothing is being looked for."""
    site = turn.site
    if site.axle_site_id is None and not any(c.leaving for c in site.chargers):
        _close_offboarding(turn, Result.NOTHING_TO_OFFBOARD)


def removal_confirmed(turn: Turn) -> None:
    """Axle deleted the charger."""
    leaving = turn.charger.leaving
    turn.charger = replace(turn.charger, leaving=None, axle_asset_id=None)
    if leaving:
        turn.settle(leaving.asker, Result.OFFBOARDED)
    site = turn.site
    if site.axle_site_id is None and not any(c.leaving and c.axle_asset_id for c in site.chargers):
        _close_offboarding(turn, Result.OFFBOARDED)
    _offboard_when_last(turn)
    turn.tell_enrolment()


def offboarding_confirmed(turn: Turn) -> None:
    """Axle deleted the site with all its chargers; removals that were owed are done with it."""
    for charger in turn.site.chargers:
        turn.focus(charger)
        leaving = charger.leaving
        if leaving and charger.axle_asset_id:
            turn.settle(leaving.asker, Result.OFFBOARDED)
            leaving = None
        enrolled = Enrolled.REMOVED if charger.enrolled is Enrolled.ENROLLED else charger.enrolled
        turn.charger = replace(charger, axle_asset_id=None, enrolled=enrolled, leaving=leaving)
    turn.site = replace(turn.site, axle_site_id=None)
    _close_offboarding(turn, Result.OFFBOARDED)
    turn.tell_enrolment()


def refuse_for_our_fault(turn: Turn) -> None:
    """Axle called our onboarding invalid: the wish stays, the consent is unused, and a person must look."""
    turn.alarm(AlarmKind.OUR_REQUEST_INVALID, "onboard")
    turn.charger = replace(turn.charger, enrolled=Enrolled.REFUSED, enrolling=None)
    turn.tell_enrolment()
    turn.settle_question(Status.FALLBACK, "Axle could not read our onboarding; the driver's wish stays in force.")


def forget_what_is_not_owed(turn: Turn) -> None:
    """Drop personal data unless an onboarding that may still happen needs it."""
    site = turn.site
    if site.enrolment and not any(c.enrolling and may_enrol(site, c) for c in site.chargers):
        turn.site = replace(site, enrolment=None)


def _close_offboarding(turn: Turn, result: Result) -> None:
    turn.focus(None)
    if turn.site.offboarding:
        turn.settle(turn.site.offboarding.asker, result)
        turn.site = replace(turn.site, offboarding=None)


def _free(turn: Turn, asker: Asker, reason: str) -> None:
    """Lift the charger's pauses for good while a session is live, and close its question."""
    if is_live(turn.charger, turn.now_ms, turn.rules):
        turn.drop_question(Result.WITHDRAWN, turn.publish(asker, Status.WITHDRAWN, reason))
    else:
        turn.drop_question(Result.WITHDRAWN)


def _forget_at_withdrawal(turn: Turn) -> None:
    """The charger leaves with its site.

    Where an onboarding was never concluded, look for what it left behind; where Axle lost the site, delete the asset.
    """
    charger = turn.charger
    alone = charger.axle_asset_id is not None and turn.site.axle_site_id is None
    leaving = charger.leaving
    if leaving is None and (alone or _unanswered(turn)):
        leaving = Leaving(turn.now_ms)
    enrolled = Enrolled.REMOVED if charger.enrolled is Enrolled.ENROLLED else charger.enrolled
    turn.charger = replace(charger, enrolled=enrolled, enrolling=None, leaving=leaving)


def _unanswered(turn: Turn) -> bool:
    """Whether Axle may have the charger without our knowing: an onboarding is under way, or was given up."""
    charger = turn.charger
    return charger.enrolling is not None or (turn.site.mpan_mark is not None and charger.enrolled is Enrolled.UNKNOWN)


def _offboard_when_last(turn: Turn) -> None:
    """Deleting a site's last charger would leave an empty site: offboard it instead."""
    if turn.site.axle_site_id is not None and not any(_stays(charger) for charger in turn.site.chargers):
        _owe_offboarding(turn)


def _owe_offboarding(turn: Turn) -> None:
    if turn.site.offboarding is None:
        turn.site = replace(turn.site, offboarding=Offboarding(turn.now_ms, None))


def _stays(charger: Charger) -> bool:
    return charger.leaving is None and (charger.axle_asset_id is not None or charger.enrolling is not None)
