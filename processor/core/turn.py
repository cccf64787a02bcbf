"""One call of `decide` in the making: the site as it is so far, and what was said so far.

Here live the few verbs that every row of the table is written in: `publish`, `ask`, `settle`, `drop_question`. A
`Turn` is the only mutable thing in the core and never leaves it. What to do when is not here but in `decide.py`.
"""

from msgspec.structs import replace

from processor.core.events import (
    ConsentWithdrawn,
    Erase,
    Event,
    Input,
    InputEvent,
    PlugIn,
    StillListed,
    Unreadable,
)
from processor.core.outputs import (
    Alarm,
    AlarmKind,
    Cause,
    ChargerEnrolment,
    Enrolled,
    EnrolmentStatus,
    ModifiedSchedule,
    Outcome,
    Output,
    Result,
    Status,
)
from processor.core.rules import Rules
from processor.core.schedule import EMPTY, Schedule, before, end_ms, since, subtract, union
from processor.core.site import (
    Asker,
    Charger,
    Question,
    Site,
    boost_window,
    consent_state,
    requested,
)

NEWCOMER_AHEAD_MS = 1_000
"""So far ahead of the time begins who is new at a site: it may come from another home, or from one that was forgotten,
which spoke at this very instant, and whose clock may differ a little."""


def kind_of(event: InputEvent) -> Input:
    """Which kind of input this is. What an operator orders is a withdrawal, and more."""
    if isinstance(event, PlugIn):
        return Input.PLUG_IN
    if isinstance(event, Unreadable):
        return event.kind
    if isinstance(event, ConsentWithdrawn | Erase | StillListed):
        return Input.CONSENT_WITHDRAWN
    return Input.USER_BOOST


def asker_of(event: InputEvent) -> Asker:
    """The event as one that waits for its outcome."""
    return Asker(event.event_id, kind_of(event), event.occurred_at_ms, event.source)


class Turn:
    """A site, one event and the time: what the rows of the table work on."""

    __slots__ = ("_charger", "changes_wish", "event", "known", "moved", "now_ms", "outputs", "rules", "site")

    def __init__(self, site: Site, event: Event, now_ms: int, rules: Rules) -> None:
        self.site = site
        self.event = event
        self.now_ms = now_ms
        self.rules = rules
        self.outputs: list[Output] = []
        self.moved = False
        """Whether the event moved a register of its own."""
        self.known = False
        """Whether a register held this very event before."""
        self.changes_wish = False
        """Whether it can change what is requested from now on."""
        charger_id = getattr(event, "charger_id", None)
        self._charger = None if charger_id is None else (site.charger(charger_id) or Charger(charger_id))

    @property
    def charger(self) -> Charger:
        """The charger that is spoken of."""
        if self._charger is None:
            raise ValueError(f"{type(self.event).__name__} speaks of no charger")
        return self._charger

    @charger.setter
    def charger(self, charger: Charger) -> None:
        self._charger = charger
        self.site = self.site.having(charger)

    @property
    def charger_or_none(self) -> Charger | None:
        """The charger that is spoken of, or None where an event is about the site alone."""
        return self._charger

    @property
    def requested(self) -> Schedule:
        """What the driver of that charger wants."""
        return requested(self.charger, self.now_ms, self.rules)

    @property
    def has_future(self) -> bool:
        """Whether something of that lies ahead."""
        return bool(since(self.requested, self.now_ms))

    @property
    def boosted(self) -> Schedule:
        """The window of a boost in force."""
        return boost_window(self.charger, self.now_ms, self.rules)

    def focus(self, charger: Charger | None) -> None:
        """Speak of this charger from here on, or of the site alone."""
        self._charger = charger

    def publish(self, asker: Asker, status: Status, reason: str, pauses: Schedule = EMPTY) -> int:
        """Publish the charger's schedule with these pauses; it replaces the one before. Returns its revision."""
        charger = self.charger
        wanted = self.requested
        last = charger.revision
        if last is None:
            revision = max(self.site.unkept_revision + 1, self.now_ms + NEWCOMER_AHEAD_MS)
        else:
            revision = max(last + 1, self.now_ms)
        self.outputs.append(
            ModifiedSchedule(
                site_id=self.site.site_id,
                charger_id=charger.charger_id,
                revision=revision,
                replaces=last,
                decided_at_ms=self.now_ms,
                caused_by=Cause(asker.event_id, asker.kind, asker.occurred_at_ms),
                status=status,
                reason=reason,
                final=status is not Status.REQUESTED,
                requested=wanted,
                effective=subtract(wanted, pauses),
                pauses=pauses,
                valid_until_ms=end_ms(wanted) or self.now_ms,
            )
        )
        served = union(charger.served, before(charger.pauses, self.now_ms))
        self.charger = replace(charger, revision=revision, pauses=pauses, served=served)
        return revision

    def ask(self, replaced: Question | None = None, *, looking_up: bool = False) -> None:
        """Publish the driver's wish as it is and open the question to Axle about it.

        A question that `replaced` one which waits for the charger's budget waits in its place, at no further cost.
        """
        revision = self.publish(self.asker, Status.REQUESTED, "The driver's wish is in force; Axle is being asked.")
        # Never further ahead than one wait: a clock that was set back would make it hours.
        not_before_ms = min(replaced.not_before_ms, self.now_ms + self.rules.question_every_ms) if replaced else 0
        if not_before_ms <= self.now_ms:
            not_before_ms = self._spend()
        question = Question(self.asker, revision, self.now_ms, looking_up=looking_up, not_before_ms=not_before_ms)
        self.charger = replace(self.charger, question=question)

    def _spend(self) -> int:
        """Take one question off the charger's budget; when it may be asked, or 0 for now."""
        now_ms, every_ms = self.now_ms, self.rules.question_every_ms
        in_one_go_ms = (self.rules.questions_at_once_max - 1) * every_ms
        # Neither wishes that are never asked about nor a clock that was set back may keep a question waiting for long.
        spent_ms = min(max(self.charger.budget_until_ms - now_ms, 0), in_one_go_ms + every_ms)
        self.charger = replace(self.charger, budget_until_ms=now_ms + min(spent_ms, in_one_go_ms) + every_ms)
        if spent_ms <= in_one_go_ms:
            return 0
        self.alarm(AlarmKind.EVENT_BUDGET_SPENT, "questions")
        return now_ms + spent_ms - in_one_go_ms

    def say_at_once(self, status: Status, reason: str) -> None:
        """Publish the driver's wish as the last word, and give the event its outcome."""
        revision = self.publish(self.asker, status, reason)
        self.settle(self.asker, Result(status), revision)

    def settle_question(self, status: Status, reason: str, pauses: Schedule = EMPTY) -> None:
        """Close the open question, if there is one, with a final record and the asker's outcome."""
        question = self.charger.question
        if question is None:
            return
        self.charger = replace(self.charger, question=None)
        revision = self.publish(question.asker, status, reason, pauses)
        self.settle(question.asker, Result(status), revision)

    def expire_question(self) -> None:
        """Close the open question, if there is one: nothing of the session is left that it could be about."""
        self.settle_question(Status.EXPIRED, "The session was over before Axle answered.")

    def drop_question(self, result: Result, revision: int | None = None) -> bool:
        """Close the open question without a record of its own, if there is one; the asker gets `result`."""
        question = self.charger.question
        if question is None:
            return False
        self.charger = replace(self.charger, question=None)
        self.settle(question.asker, result, revision)
        return True

    def settle(self, asker: Asker | None, result: Result, revision: int | None = None) -> None:
        """Give an input its one outcome."""
        if asker is None:
            return
        charger_id = self._charger.charger_id if self._charger else None
        self.outputs.append(
            Outcome(asker.event_id, asker.source, self.site.site_id, charger_id, result, self.now_ms, revision)
        )

    def settle_event(self, result: Result) -> None:
        """Give the event at hand its outcome, without a record."""
        self.settle(self.asker, result)

    def tell_enrolment(self) -> None:
        """Publish where the site stands with Axle."""
        chargers = tuple(ChargerEnrolment(c.charger_id, self._standing(c), c.axle_asset_id) for c in self.site.chargers)
        self.outputs.append(
            EnrolmentStatus(
                self.site.site_id,
                consent_state(self.site),
                self.site.axle_site_id or next(iter(self.site.kept_axle_site_ids), None),
                chargers,
                self.now_ms,
            )
        )

    def _standing(self, charger: Charger) -> Enrolled:
        """REMOVED is proof, so it is told only once Axle has confirmed it."""
        goes_with_the_site = self.site.offboarding and charger.enrolled is Enrolled.REMOVED and charger.axle_asset_id
        return Enrolled.LEAVING if charger.leaving or goes_with_the_site else charger.enrolled

    def alarm(self, kind: AlarmKind, detail: str) -> None:
        """Let an operator know."""
        charger_id = self._charger.charger_id if self._charger else None
        self.outputs.append(Alarm(kind, self.site.site_id, charger_id, detail))

    @property
    def asker(self) -> Asker:
        """The event at hand as one that waits for its outcome."""
        event = self.event
        if not isinstance(event, InputEvent):
            raise ValueError(f"{type(event).__name__} waits for no outcome")
        return asker_of(event)
