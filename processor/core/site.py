"""What is known of one household: registers, Axle's ids, open questions and what is owed. All of it immutable.

Here live the state's shape and the facts that follow from it (`withdrawn`, `requested`, ...). How it changes is in
`decide.py`. The one idea: a *register* keeps the newest word on one matter, by its stamp `(occurred_at, event_id)`,
and everything else is a function of the registers, so the order in which topics are read makes no difference.
"""

from msgspec.structs import replace

from processor.core.events import Enrolment, Input, Source
from processor.core.outputs import ConsentState, Enrolled
from processor.core.rules import Rules
from processor.core.schedule import EMPTY, Schedule, end_ms, round_up_to_minute, since, union, window
from processor.core.value import Value


class Stamp(Value, frozen=True, array_like=True, order=True):
    """When something was said, and by which event; the higher one wins, and equal times go by the id."""

    at_ms: int
    event_id: str


class Base(Value, frozen=True, array_like=True):
    """The schedule that the driver has set, by a plug-in or a change."""

    stamp: Stamp
    schedule: Schedule


class Boost(Value, frozen=True, array_like=True):
    """Charge at once until `until_ms`; None says that the boost was cancelled."""

    stamp: Stamp
    until_ms: int | None


class Asker(Value, frozen=True, array_like=True):
    """The input that still waits for its outcome."""

    event_id: str
    kind: Input
    occurred_at_ms: int
    source: Source


class Question(Value, frozen=True, array_like=True):
    """A schedule that Axle is asked about. `number` is the revision that told the driver's wish."""

    asker: Asker
    number: int
    since_ms: int
    looking_up: bool = False
    """Axle answered 404: its ids are being looked up before the question is put once more."""
    looked_up: bool = False
    """That look-up was spent."""
    not_before_ms: int = 0
    """It exceeds the charger's budget of questions and waits until then."""


class Enrolling(Value, frozen=True, array_like=True):
    """An onboarding that is owed. `adopting`: Axle has the charger already (409); look whether it is ours."""

    since_ms: int
    adopting: bool = False


class Leaving(Value, frozen=True, array_like=True):
    """A charger that is to be gone at Axle.

    With an asset id: delete it. Without one, an onboarding of ours was never answered: look for what it may have
    left behind, `look_ups` times so far.
    """

    since_ms: int
    asker: Asker | None = None
    look_ups: int = 0
    once: bool = False
    """No onboarding of ours is at stake, at most somebody else's: a single look-up tells."""


class Offboarding(Value, frozen=True, array_like=True):
    """A site that is to be gone at Axle, until Axle confirms it. Without an asker its outcome was given before."""

    since_ms: int
    asker: Asker | None


class Charger(Value, frozen=True, array_like=True):
    """One charger at the site: its registers first, then what was published, then how it stands with Axle."""

    charger_id: str
    plugged: Stamp | None = None
    base: Base | None = None
    boost: Boost | None = None
    removed: Stamp | None = None
    halted: Stamp | None = None
    power_kw: float | None = None
    revision: int | None = None
    pauses: Schedule = EMPTY
    served: Schedule = EMPTY
    """Pauses that were in force since the newest plug-in and are not any more."""
    question: Question | None = None
    enrolled: Enrolled = Enrolled.UNKNOWN
    axle_asset_id: str | None = None
    consent_used_at_ms: int | None = None
    """The consent that the newest conclusive answer about this charger was got with."""
    enrolling: Enrolling | None = None
    leaving: Leaving | None = None
    budget_until_ms: int = 0
    """Questions so far have used up the budget until then; see `Rules.question_every_ms`."""
    not_found_at_ms: int | None = None
    """When Axle last did not know a charger that others may have onboarded."""


class Site(Value, frozen=True, array_like=True):
    """One household. Marks of withdrawal and removal never expire."""

    site_id: str
    consent: Stamp | None = None
    withdrawal: Stamp | None = None
    axle_site_id: str | None = None
    enrolment: Enrolment | None = None
    mpan_mark: str | None = None
    """Keyed fingerprint of the MPAN that we onboarded last, so that a look-up never takes over another household."""
    offboarding: Offboarding | None = None
    chargers: tuple[Charger, ...] = ()
    older_marks: tuple[str, ...] = ()
    """Fingerprints of MPANs that were corrected while their onboarding was not answered."""
    kept_axle_site_ids: tuple[str, ...] = ()
    """Axle's sites that were unenrolled, the newest first: they are there still, and so are their payments."""
    left_axle_site_ids: tuple[str, ...] = ()
    """Sites of Axle's that this household was moved away from, by a corrected MPAN: they leave with it."""
    erasing: Stamp | None = None
    """The order to forget this household, until nothing of it is left at Axle."""
    unkept_revision: int = 0
    """The newest revision given to a charger beyond those that are kept; theirs go on from it."""

    def charger(self, charger_id: str) -> Charger | None:
        """The charger of that id, or None."""
        for charger in self.chargers:
            if charger.charger_id == charger_id:
                return charger
        return None

    def having(self, charger: Charger) -> "Site":
        """This site with that charger put in the place of the one of the same id, or added."""
        chargers = self.chargers
        for place, other in enumerate(chargers):
            if other.charger_id == charger.charger_id:
                return replace(self, chargers=(*chargers[:place], charger, *chargers[place + 1 :]))
        return replace(self, chargers=(*chargers, charger))


def withdrawn(site: Site) -> bool:
    """Whether a withdrawal stands: there is one, and no consent is newer. Equal times are a withdrawal."""
    if site.withdrawal is None:
        return False
    return site.consent is None or site.withdrawal.at_ms >= site.consent.at_ms


def taken_away(site: Site, charger: Charger) -> bool:
    """Whether the charger was disconnected, and has not plugged in since under a consent that is newer.

    It has to plug in itself: a consent that another charger brought says nothing of one that may be gone.
    """
    removed, consent, plugged = charger.removed, site.consent, charger.plugged
    if removed is None:
        return False
    return consent is None or removed.at_ms >= consent.at_ms or plugged is None or removed >= plugged


def has_left(site: Site, charger: Charger) -> bool:
    """Whether the household withdrew, or the charger was disconnected."""
    return withdrawn(site) or taken_away(site, charger)


def left_at_ms(site: Site, charger: Charger) -> int | None:
    """When the household withdrew, or else when the charger was disconnected; None while it has not left."""
    left = site.withdrawal if withdrawn(site) else charger.removed if taken_away(site, charger) else None
    return left.at_ms if left else None


def may_enrol(site: Site, charger: Charger) -> bool:
    """Whether a consent stands that was not yet used for this charger."""
    if site.consent is None or has_left(site, charger):
        return False
    return charger.consent_used_at_ms is None or site.consent.at_ms > charger.consent_used_at_ms


def consent_state(site: Site) -> ConsentState:
    """What we hold of the household's consent."""
    if withdrawn(site):
        return ConsentState.WITHDRAWN
    return ConsentState.GIVEN if site.consent else ConsentState.NONE


def halted(charger: Charger) -> bool:
    """Whether the driver's newest word is one that we did not understand."""
    if charger.halted is None:
        return False
    stamps = (
        charger.plugged,
        charger.base.stamp if charger.base else None,
        charger.boost.stamp if charger.boost else None,
    )
    return all(stamp is None or charger.halted > stamp for stamp in stamps)


def boost_window(charger: Charger, now_ms: int, rules: Rules) -> Schedule:
    """The time that a boost in force asks for, else `()`."""
    boost = charger.boost
    if boost is None or boost.until_ms is None or now_ms >= boost.until_ms:
        return EMPTY
    if charger.plugged and boost.stamp.at_ms < charger.plugged.at_ms - rules.boost_before_plug_in_ms:
        return EMPTY
    return window(boost.stamp.at_ms, boost.until_ms)


def requested(charger: Charger, now_ms: int, rules: Rules) -> Schedule:
    """What the driver wants: the base schedule and the boost in force."""
    base = charger.base.schedule if charger.base else EMPTY
    return union(base, boost_window(charger, now_ms, rules)) if charger.boost else base


def is_live(charger: Charger, now_ms: int, rules: Rules) -> bool:
    """Whether something of what is requested still lies ahead."""
    end = end_ms(requested(charger, now_ms, rules))
    return end is not None and now_ms < end


def to_send(charger: Charger, now_ms: int, rules: Rules) -> Schedule:
    """The part of what is requested that Axle may still change: from the next whole minute on."""
    return since(requested(charger, now_ms, rules), round_up_to_minute(now_ms))


def last_chance_ms(charger: Charger, now_ms: int, rules: Rules) -> int:
    """From when on what is left of the session is too short for the shortest pause."""
    end = end_ms(requested(charger, now_ms, rules)) or now_ms
    return end - rules.pause_min_ms - rules.lead_ms


def gives_up_at_ms(charger: Charger, question: Question, now_ms: int, rules: Rules) -> int:
    """When no pause is possible any more in what is left of the session, or we have asked for long enough."""
    at = last_chance_ms(charger, now_ms, rules)
    if rules.give_up_after_ms is not None:
        at = min(at, question.since_ms + rules.give_up_after_ms)
    return at


def looks_at_ms(leaving: Leaving, rules: Rules) -> int:
    """When the next look-up is due for what a charger may have left behind."""
    if leaving.once:
        return leaving.since_ms
    delays_ms = rules.look_up_delays_ms
    return leaving.since_ms + delays_ms[min(leaving.look_ups, len(delays_ms) - 1)]


def is_erased(site: Site) -> bool:
    """Whether nothing is left of the household but the mark that it withdrew."""
    mark = erased_mark(site)
    return mark is not None and site == Site(site.site_id, withdrawal=mark)


def erased_mark(site: Site) -> Stamp | None:
    """The withdrawal of a site as it stays after an erasure: its time, without the event."""
    return Stamp(site.withdrawal.at_ms, "") if site.withdrawal else None


def due_at_ms(site: Site, now_ms: int, rules: Rules) -> int | None:
    """When this site wants a `Due` event next (it may lie in the past), or None."""
    times: list[int] = []
    for charger in site.chargers:
        if charger.question:
            times.append(gives_up_at_ms(charger, charger.question, now_ms, rules))
        if charger.enrolling:
            times.append(charger.enrolling.since_ms + rules.onboarding_life_ms)
    return min(times, default=None)
