"""Taking an event into the registers: design 4, "order by registers".

Here an event updates the registers it speaks of, each where its stamp is the higher one, and nothing else happens.
What follows from it is in `decide.py`. The one idea: this is all there is to order. Any permutation of the same events
leaves the same registers, so it leaves the same wish, consent and removal.
"""

from msgspec.structs import replace

from processor.core.events import (
    Action,
    BoostAction,
    ConsentWithdrawn,
    Erase,
    Event,
    PlugIn,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.schedule import since
from processor.core.site import Base, Boost, Charger, Stamp
from processor.core.turn import Turn


def take(turn: Turn) -> None:
    """Move the registers that the event speaks of, and note on the turn what it moved."""
    event = turn.event
    if isinstance(event, PlugIn):
        _take_consent(turn, event)
    if isinstance(event, PlugIn | UserBoost | Unreadable):
        _take_action(turn, event)
    elif isinstance(event, ConsentWithdrawn):
        _take_withdrawal(turn, event)
    elif isinstance(event, Erase):
        _take_order(turn, event)


def concerns_one_charger(event: ConsentWithdrawn) -> bool:
    """Whether only a charger leaves. Anything less than plain is a withdrawal of the site: privacy wins."""
    return event.reason is WithdrawalReason.CHARGER_DISCONNECTED and event.charger_id is not None


def consent_of(event: PlugIn) -> Stamp | None:
    """The consent that a plug-in brings. It counts from the earlier of the two times: no one consents ahead."""
    if event.enrolment is None:
        return None
    return Stamp(min(event.enrolment.consented_at_ms, event.occurred_at_ms), event.event_id)


def is_unknown(event: Event) -> bool:
    """Whether the driver did something that we do not understand."""
    return isinstance(event, Unreadable) or (isinstance(event, UserBoost) and event.action is BoostAction.UNKNOWN)


def _take_consent(turn: Turn, event: PlugIn) -> None:
    consent = consent_of(event)
    if consent and (turn.site.consent is None or consent > turn.site.consent):
        turn.site = replace(turn.site, consent=consent)


def _take_action(turn: Turn, event: Action) -> None:
    charger = turn.charger
    stamp = Stamp(event.occurred_at_ms, event.event_id)
    if is_unknown(event):
        if charger.halted is None or stamp > charger.halted:
            turn.charger = replace(charger, halted=stamp)
        return
    turn.known = _holds(charger, event.event_id)
    if turn.known:
        return
    boosted_before = turn.boosted
    moved = _move_plugged(charger, event, stamp)
    moved = _move_base(moved, event, stamp)
    boost_alone = moved is charger
    moved = _move_boost(moved, event, stamp)
    if moved is charger:
        return
    turn.moved = True
    turn.charger = moved
    turn.changes_wish = not boost_alone or bool(boosted_before) or bool(turn.boosted)


def _holds(charger: Charger, event_id: str) -> bool:
    stamps = (
        charger.plugged,
        charger.base.stamp if charger.base else None,
        charger.boost.stamp if charger.boost else None,
        charger.removed,
    )
    return any(stamp is not None and stamp.event_id == event_id for stamp in stamps)


def _move_plugged(charger: Charger, event: Action, stamp: Stamp) -> Charger:
    """A plug-in begins a session: pauses from before its time count no more."""
    if not isinstance(event, PlugIn) or (charger.plugged and charger.plugged >= stamp):
        return charger
    power_kw = charger.power_kw if event.power_kw is None else event.power_kw
    pauses, served = since(charger.pauses, stamp.at_ms), since(charger.served, stamp.at_ms)
    return replace(charger, plugged=stamp, power_kw=power_kw, pauses=pauses, served=served)


def _move_base(charger: Charger, event: Action, stamp: Stamp) -> Charger:
    schedule = None if isinstance(event, Unreadable) else event.schedule
    cancels = isinstance(event, UserBoost) and event.action is BoostAction.BOOST_CANCELLED
    if schedule is None or cancels or (charger.base and charger.base.stamp >= stamp):
        return charger
    return replace(charger, base=Base(stamp, schedule))


def _move_boost(charger: Charger, event: Action, stamp: Stamp) -> Charger:
    if not isinstance(event, UserBoost) or event.action is BoostAction.SCHEDULE_CHANGED:
        return charger
    if charger.boost and charger.boost.stamp >= stamp:
        return charger
    until_ms = event.boost_until_ms if event.action is BoostAction.BOOST else None
    return replace(charger, boost=Boost(stamp, until_ms))


def _take_order(turn: Turn, event: Erase) -> None:
    """Who is to be forgotten has withdrawn."""
    stamp = Stamp(event.occurred_at_ms, event.event_id)
    if turn.site.withdrawal is None or stamp > turn.site.withdrawal:
        turn.site = replace(turn.site, withdrawal=stamp)


def _take_withdrawal(turn: Turn, event: ConsentWithdrawn) -> None:
    stamp = Stamp(event.occurred_at_ms, event.event_id)
    old = turn.charger.removed if concerns_one_charger(event) else turn.site.withdrawal
    turn.known = old is not None and old.event_id == event.event_id
    if turn.known or (old is not None and old >= stamp):
        return
    turn.moved = True
    if concerns_one_charger(event):
        turn.charger = replace(turn.charger, removed=stamp)
    else:
        turn.site = replace(turn.site, withdrawal=stamp)
