"""Leaving Axle: withdrawal, disconnection, erasure, and what has to be looked for afterwards.

Here live the effects of design 4, rule 5; which of them runs when is a row of `decide.py`. The one idea: what Axle
holds is only ever *known* from its answers, so an onboarding that was never answered is treated as one that may have
happened, and a withdrawn site goes on looking for it.
"""

from msgspec.structs import replace

from processor.core.enrolment import hangs_on, is_worth_a_look_up, may_be_elsewhere, move_to, without
from processor.core.events import Action, Answer, ConsentWithdrawn, Erase, LookedUp, Offboarded, StillListed
from processor.core.outputs import Enrolled, Erased, Result, Status
from processor.core.site import (
    Asker,
    Charger,
    Leaving,
    Offboarding,
    Site,
    Stamp,
    erased_mark,
    has_left,
    is_erased,
    is_live,
    looks_at_ms,
    taken_away,
    withdrawn,
)
from processor.core.turn import Turn, asker_of


def begin(turn: Turn) -> None:
    """A charger that left without our having known it may be at Axle by another's hand: look, and let it leave."""
    if not isinstance(turn.event, Action) or not is_worth_a_look_up(turn):
        return
    if has_left(turn.site, turn.charger):
        turn.charger = replace(turn.charger, leaving=Leaving(turn.now_ms, once=True))
        turn.tell_enrolment()


def end(turn: Turn) -> None:
    """The order to erase is carried out once nothing is owed to Axle; a newer consent calls it off.

    An answer that comes after that brings nothing back either: what it makes owed is done, then forgotten again.
    """
    site = turn.site
    if site.erasing is None and not _came_after_the_erasure(turn):
        return
    if not withdrawn(site):
        turn.site = replace(site, erasing=None)
    elif site.offboarding is None and not any(charger.leaving for charger in site.chargers):
        turn.outputs.append(Erased(site.site_id))
        turn.site = Site(site.site_id, withdrawal=erased_mark(site))


def withdraw_site(turn: Turn) -> None:
    """Lift every pause at the site, forget the household, and owe Axle an offboarding until it confirms."""
    event = turn.event
    if isinstance(event, ConsentWithdrawn):
        if turn.rules.onboarding_elsewhere and event.charger_id is not None:
            turn.site = turn.site.having(turn.charger)
        _withdraw(turn, asker_of(event), "The household withdrew; the driver's wish is in force without pauses.")


def erase(turn: Turn) -> None:
    """As a withdrawal, and the site is deleted at Axle whatever the settings say; `end` forgets it then."""
    event = turn.event
    if isinstance(event, Erase):
        site = turn.site
        turn.site = replace(
            site,
            left_axle_site_ids=(*site.left_axle_site_ids, *site.kept_axle_site_ids),
            kept_axle_site_ids=(),
            erasing=Stamp(event.occurred_at_ms, event.event_id),
        )
        _withdraw(turn, asker_of(event), "The household is being forgotten; the driver's wish is in force.")


def _came_after_the_erasure(turn: Turn) -> bool:
    """Whether an answer changed something of a household that was forgotten, and no driver of it acted since."""
    site = turn.site
    if site.withdrawal is None or site.withdrawal.event_id or not isinstance(turn.event, Answer):
        return False
    has_acted = any(charger.plugged or charger.base or charger.boost for charger in site.chargers)
    return not has_acted and not is_erased(site)


def _withdraw(turn: Turn, asker: Asker, reason: str) -> None:
    _turn_to_what_is_left(turn)
    for charger in turn.site.chargers:
        turn.focus(charger)
        _free(turn, asker, reason)
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
    leaving = _leaving_of(turn, asker)
    enrolled = Enrolled.REMOVED if leaving and not leaving.once else charger.enrolled
    turn.charger = replace(charger, enrolled=enrolled, enrolling=None, leaving=leaving)
    if leaving is None:
        turn.settle(asker, Result.NOTHING_TO_OFFBOARD)
    _offboard_when_last(turn)
    turn.tell_enrolment()


def leave_again(turn: Turn, axle_site_id: str, axle_asset_id: str) -> None:
    """Axle turned out to have a charger that left meanwhile: owe its removal, or the site's offboarding."""
    if _is_at_a_meter_of_before(turn):
        left = without((axle_site_id, *turn.site.left_axle_site_ids), "")
        turn.site = replace(turn.site, left_axle_site_ids=left)
    else:
        move_to(turn, axle_site_id)
    leaving = turn.charger.leaving or Leaving(turn.now_ms)
    turn.charger = replace(turn.charger, axle_asset_id=axle_asset_id, leaving=leaving, enrolled=Enrolled.REMOVED)
    if withdrawn(turn.site):
        _owe_offboarding(turn)
    else:
        _offboard_when_last(turn)
    turn.tell_enrolment()


def look_again(turn: Turn) -> None:
    """Owe a look-up of the charger; what it finds of ours has to go. The list alone is never acted on."""
    event = turn.event
    if isinstance(event, StillListed):
        turn.charger = replace(turn.charger, leaving=Leaving(turn.now_ms, asker_of(event), once=True))
        turn.tell_enrolment()


def put_off(turn: Turn) -> None:
    """Axle refused to delete the charger: the removals of others are not to wait for it."""
    charger = turn.charger_or_none
    if charger and charger.leaving and charger.axle_asset_id:
        turn.charger = replace(charger, leaving=replace(charger.leaving, since_ms=turn.now_ms))


def nothing_found(turn: Turn) -> None:
    """A look-up for what may have been left behind found nothing: look again later, or close the matter.

    One that was made before its time, for another purpose, proves nothing.
    """
    leaving = turn.charger.leaving
    if leaving is None or turn.now_ms < looks_at_ms(leaving, turn.rules):
        return
    if not leaving.once and leaving.look_ups + 1 < len(turn.rules.look_up_delays_ms):
        turn.charger = replace(turn.charger, leaving=replace(leaving, look_ups=leaving.look_ups + 1))
    else:
        stop_looking(turn)


def stop_looking(turn: Turn) -> None:
    """Nothing of this charger is at Axle: close its removal, and the site's offboarding when it waited for this."""
    leaving = turn.charger.leaving
    turn.charger = replace(turn.charger, leaving=None, not_found_at_ms=turn.now_ms)
    turn.settle(leaving.asker if leaving else None, Result.NOTHING_TO_OFFBOARD)
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
    turn.settle(leaving.asker if leaving else None, Result.OFFBOARDED)
    site = turn.site
    if site.axle_site_id is None and not any(c.leaving and c.axle_asset_id for c in site.chargers):
        _close_offboarding(turn, Result.OFFBOARDED)
    _offboard_when_last(turn)
    turn.tell_enrolment()


def offboarding_confirmed(turn: Turn) -> None:
    """Axle deleted the site with all its chargers, so removals that were owed are done; or it only unenrolled it."""
    event = turn.event
    is_kept = isinstance(event, Offboarded) and event.kept
    for charger in turn.site.chargers:
        turn.focus(charger)
        leaving = charger.leaving
        if leaving and charger.axle_asset_id:
            if is_kept and taken_away(turn.site, charger):
                continue
            turn.settle(leaving.asker, Result.OFFBOARDED)
            leaving = None
        had_it = charger.enrolled in {Enrolled.ENROLLED, Enrolled.FORBIDDEN}
        enrolled = Enrolled.REMOVED if had_it else charger.enrolled
        turn.charger = replace(charger, axle_asset_id=None, enrolled=enrolled, leaving=leaving)
    site = turn.site
    kept = site.kept_axle_site_ids
    if isinstance(event, Offboarded) and event.kept:
        kept = (event.axle_site_id, *without(kept, event.axle_site_id))
    turn.site = replace(site, axle_site_id=None, kept_axle_site_ids=kept)
    _turn_to_what_is_left(turn)
    if turn.site.axle_site_id is None:
        _close_offboarding(turn, Result.OFFBOARDED)
    turn.tell_enrolment()


def _turn_to_what_is_left(turn: Turn) -> None:
    """Where the household is at no site of Axle's any more, the next one that it was moved away from has to go."""
    site = turn.site
    if site.axle_site_id is None and site.left_axle_site_ids:
        next_to_go, *others = site.left_axle_site_ids
        turn.site = replace(site, axle_site_id=next_to_go, left_axle_site_ids=tuple(others))


def _is_at_a_meter_of_before(turn: Turn) -> bool:
    """Whether what was found hangs on a meter that was corrected since, while the household stays at another."""
    event = turn.event
    if withdrawn(turn.site) or not isinstance(event, LookedUp) or event.found is None:
        return False
    return turn.site.mpan_mark is not None and not hangs_on(event.found, (turn.site.mpan_mark,), turn.rules.secret)


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
        turn.expire_question()


def _forget_at_withdrawal(turn: Turn) -> None:
    """The charger leaves with its site.

    Where an onboarding was never concluded, look for what it left behind; where Axle lost the site, delete the asset.
    """
    charger = turn.charger
    goes_with_the_site = charger.axle_asset_id and turn.site.axle_site_id and charger.enrolling is None
    leaving = charger.leaving
    if leaving is None and not goes_with_the_site:
        leaving = _leaving_of(turn, None)
    enrolled = Enrolled.REMOVED if charger.enrolled is Enrolled.ENROLLED else charger.enrolled
    turn.charger = replace(charger, enrolled=enrolled, enrolling=None, leaving=leaving)


def _leaving_of(turn: Turn, asker: Asker | None) -> Leaving | None:
    """What it takes for the charger at hand to be gone at Axle; None when it never was there."""
    charger = turn.charger
    if charger.leaving:
        return replace(charger.leaving, asker=asker)
    if charger.axle_asset_id or _unanswered(turn):
        return Leaving(turn.now_ms, asker)
    return Leaving(turn.now_ms, asker, once=True) if may_be_elsewhere(turn) else None


def _unanswered(turn: Turn) -> bool:
    """Whether Axle may have the charger without our knowing.

    An onboarding is under way, or was given up; or one was refused, but under another meter than the one before.
    """
    charger, site = turn.charger, turn.site
    if charger.enrolling or (site.mpan_mark is not None and charger.enrolled is Enrolled.UNKNOWN):
        return True
    refused = {Enrolled.CONFLICT, Enrolled.NOT_ELIGIBLE, Enrolled.REFUSED}
    return charger.enrolled in refused and bool(site.older_marks)


def _offboard_when_last(turn: Turn) -> None:
    """Deleting a site's last charger would leave an empty site: offboard it instead.

    Not one that others onboarded: it may have chargers that we have not heard of.
    """
    others_onboarded_it = turn.rules.onboarding_elsewhere and turn.site.mpan_mark is None
    if others_onboarded_it or any(_stays(charger) for charger in turn.site.chargers):
        return
    _turn_to_what_is_left(turn)
    if turn.site.axle_site_id is not None:
        _owe_offboarding(turn)


def _owe_offboarding(turn: Turn) -> None:
    if turn.site.offboarding is None:
        turn.site = replace(turn.site, offboarding=Offboarding(turn.now_ms, None))


def _stays(charger: Charger) -> bool:
    return charger.leaving is None and (charger.axle_asset_id is not None or charger.enrolling is not None)
