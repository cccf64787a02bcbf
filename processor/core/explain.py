"""The story of one charger in plain sentences: why its car is charging now, or why it is not.

Here a site's state and the records that were published are put into words for a person. Nothing is decided here,
nothing is read or printed, and whatever is missing is said rather than raised. The one idea: what the charger does now
is in its newest record, because that is what it follows; the state tells what is known beyond it, and what is owed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from processor.core.events import Input
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, owed
from processor.core.outputs import Cause, Enrolled, ModifiedSchedule, Status
from processor.core.rules import Rules
from processor.core.schedule import Block, Schedule, since, subtract
from processor.core.site import Charger, Site, boost_window, gives_up_at_ms, halted, requested, taken_away, withdrawn
from processor.core.standing import Standing, standing_of
from processor.core.value import Value

DELAY_TOLD_MS = 5_000
"""What took less, Axle's answer or the way of an event to here, is not worth a word about its time."""
LISTED_MAX = 4
"""How many blocks of a schedule, or names of chargers, a sentence lists."""
LAST_MS = 253_402_300_799_999
"""The last instant that the calendar knows: the year 9999 is over then."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

TellTime = Callable[[int], str]
"""UTC milliseconds as the reader wants to see them; a day, where it is told, stands before the time and a space."""


class Told(Value, frozen=True):
    """One thing that happened; `revision` is that of its last record, and missing records have neither id."""

    at_ms: int
    at: str
    sentence: str
    revision: int | None = None
    event_id: str | None = None


class Story(Value, frozen=True):
    """In sentences: what the charger does now, what is known, what happened (oldest first), what is owed to Axle."""

    charger_id: str
    now: str
    known: tuple[str, ...]
    past: tuple[Told, ...]
    owed: tuple[str, ...]


class Deed(StrEnum):
    """What somebody did, by its noun: the kinds of input, and what a register knows more exactly."""

    PLUG_IN = "plug-in"
    USER_BOOST = "action in the app"
    CONSENT_WITHDRAWN = "withdrawal"
    BOOST = "boost"
    CANCEL = "boost cancel"
    CHANGE = "schedule change"
    UNCLEAR = "unclear action"
    DISCONNECTION = "disconnection"


_DONE = {Deed.PLUG_IN: "plugged in", Deed.CANCEL: "cancelled the boost", Deed.CHANGE: "changed the schedule"}
_ANSWERS = {Status.MODIFIED, Status.UNCHANGED, Status.REJECTED}
"""What can only be said after a `REQUESTED`."""
_STANDINGS = {
    Standing.UNKNOWN: "Axle does not manage this charger.",
    Standing.JOINING: "Axle is being told of this charger; until it has it, no pause can come.",
    Standing.ADOPTING: "Axle has this charger already; whose it is there is being looked up.",
    Standing.ENROLLED: "Axle manages this charger.",
    Standing.LEAVING: "The charger left, and Axle has not confirmed its removal yet.",
    Standing.SEARCHING: "The charger left; whether Axle still has something of it is being looked up.",
    Standing.OFFBOARDING: "The whole site is leaving Axle, which has not confirmed it yet.",
    Standing.GONE: "Axle is not asked about this charger any more.",
}
_DENIALS = {
    Enrolled.NOT_ELIGIBLE: "Axle does not take this charger: it is not eligible.",
    Enrolled.CONFLICT: "Axle has this charger in another household, so it is left alone: a person must look.",
    Enrolled.FORBIDDEN: "Axle holds no consent for this site although one is recorded here: a person must look.",
    Enrolled.REFUSED: "Axle called our onboarding of this charger invalid: a person must look.",
}


def explain(
    site: Site | None,
    charger_id: str,
    records: Iterable[ModifiedSchedule],
    now_ms: int,
    rules: Rules,
    tell_time: TellTime | None = None,
) -> Story:
    """The story of a charger at `now_ms` (UTC); never raises, and tells as well that nothing is known or owed.

    `site` is the state that was found, None for none. `records` come in any order, with duplicates, and may be those
    of other chargers and sites too. Without `tell_time` times are UTC (`utc_clock`).
    """
    mine = {record.revision: record for record in records if record.charger_id == charger_id}
    ordered = [mine[revision] for revision in sorted(mine)]
    charger = (site.charger(charger_id) if site else None) or Charger(charger_id)
    newest = ordered[-1] if ordered else None
    teller = _Teller(site, charger, ordered, newest, now_ms, rules, tell_time or utc_clock(now_ms))
    debts = tuple(teller.owed()) or ("Nothing is owed to Axle.",)
    return Story(charger_id, teller.now(), tuple(teller.known()), tuple(teller.past()), debts)


def utc_clock(today_ms: int) -> TellTime:
    """A clock in UTC: "22:14", with the day before it where that is not the day of `today_ms`."""
    today = _calendar(today_ms)

    def tell(at_ms: int) -> str:
        then = _calendar(at_ms)
        day = "" if then.date() == today.date() else f"{then.day} {MONTHS[then.month - 1]} "
        year = "" if then.year == today.year else f"{then.year} "
        return f"{day}{year}{then.hour:02}:{then.minute:02}"

    return tell


def _calendar(at_ms: int) -> datetime:
    return datetime.fromtimestamp(min(max(at_ms, 0), LAST_MS) // 1000, UTC)


class _Teller(Value, frozen=True):
    """All that a story is told from. `charger` is a blank one where the state holds none."""

    site: Site | None
    charger: Charger
    records: Sequence[ModifiedSchedule]
    newest: ModifiedSchedule | None
    now_ms: int
    rules: Rules
    clock: TellTime

    def now(self) -> str:
        """What the charger does, until when, what comes then, and what that goes back to."""
        newest, revision = self.newest, self.charger.revision
        if revision is not None and (newest is None or revision > newest.revision):
            wanted = requested(self.charger, self.now_ms, self.rules)
            headline = self._headline(wanted, self.charger.pauses, None)
            return f"{headline} This is told from the state: its newest record is not here."
        if newest is None:
            return "Nothing holds the car back: no schedule of this charger is known here."
        headline = self._headline(newest.requested, newest.pauses, newest.valid_until_ms)
        asking = "" if newest.final else f" {self._unanswered(newest)}"
        return f"{headline} This goes back to {self._noun(newest.caused_by)}.{asking}"

    def _headline(self, wanted: Schedule, pauses: Schedule, over_ms: int | None) -> str:
        now_ms = self.now_ms
        stretches = [(block, True) for block in pauses] + [(block, False) for block in subtract(wanted, pauses)]
        ahead = sorted(stretch for stretch in stretches if stretch[0][1] > now_ms)
        if not ahead:
            since_when = f"has been free to charge since {self.clock(over_ms or 0)}, when its last schedule ended"
            return f"Nothing holds the car back: it {since_when if over_ms else 'is free to charge'}."
        (start_ms, edge_ms), is_pause = ahead[0]
        doing = "Axle pauses the car" if is_pause else "The car may charge"
        if start_ms > now_ms:
            doing, edge_ms = "The car waits for the driver's own schedule", start_ms
        then = self._then([stretch for stretch in ahead if stretch[0][0] >= edge_ms], edge_ms)
        later = tuple(block for block, paused in ahead if paused and block[0] > edge_ms)
        more = f" Later: {self._pauses(later)}." if later else ""
        more = more if any(paused for _, paused in ahead) else " No pause is ahead."
        return f"{doing} until {self.clock(edge_ms)}; then {then}.{more}"

    def _then(self, ahead: Sequence[tuple[Block, bool]], edge_ms: int) -> str:
        """What comes at the end of what is now."""
        if not ahead:
            return "its schedule ends and it is free to charge"
        (start_ms, end_ms), is_pause = ahead[0]
        if start_ms > edge_ms:
            return f"the driver's own schedule has a gap until {self.clock(start_ms)}"
        return f"{'Axle pauses it' if is_pause else 'it may charge'} until {self.clock(end_ms)}"

    def known(self) -> Iterator[str]:
        """What the state tells beyond the newest record, and how far the two agree."""
        site, charger, newest = self.site, self.charger, self.newest
        if site is None:
            yield "No state was found" + ("; this is told from the records alone." if newest else ", and no records.")
            return
        if site.charger(charger.charger_id):
            yield from self._wishes()
            yield self._consent(site)
            yield _STANDINGS.get(standing_of(site, charger)) or _DENIALS[charger.enrolled]
        else:
            yield self._consent(site)
            yield self._stranger(site)
        if newest and newest.site_id != site.site_id:
            yield f"The newest record is of site {newest.site_id}, not of this one ({site.site_id})."
        elif newest and charger.revision and newest.revision > charger.revision:
            yield "The state is older than the newest record."

    def _stranger(self, site: Site) -> str:
        ids = [charger.charger_id for charger in site.chargers]
        if len(ids) >= self.rules.chargers_max:
            return f"Site {site.site_id} has as many chargers as are kept ({len(ids)}); this one is not among them."
        return f"Site {site.site_id} holds nothing of this charger; it knows {_listed(ids)}."

    def _wishes(self) -> Iterator[str]:
        """The registers that the driver's wish is made of."""
        base, boost, unclear = self.charger.base, self.charger.boost, self.charger.halted
        if base:
            setter = self._noun(Cause(base.stamp.event_id, Input.USER_BOOST, base.stamp.at_ms))
            yield f"The driver's own schedule is {self._spans(base.schedule)}, set by {setter}."
        else:
            yield "The driver has set no schedule."
        if boost:
            yield self._boost(boost.stamp.at_ms, boost.until_ms)
        if unclear and halted(self.charger):
            when = self.clock(unclear.at_ms)
            yield f"What the driver did at {when} could not be understood: no pauses until the next action."

    def _boost(self, at_ms: int, until_ms: int | None) -> str:
        at, until = self.clock(at_ms), self.clock(until_ms or 0)
        if boost_window(self.charger, self.now_ms, self.rules):
            return f"The boost at {at} is in force until {until}; no pause may touch it."
        if until_ms is None:
            return f"No boost is in force: the driver cancelled at {at}."
        if until_ms <= self.now_ms:
            return f"No boost is in force: the newest ended at {until}."
        return f"No boost is in force: the newest, at {at}, belongs to an earlier session."

    def _consent(self, site: Site) -> str:
        removed = self.charger.removed
        if site.withdrawal and withdrawn(site):
            when = self.clock(site.withdrawal.at_ms)
            if not site.withdrawal.event_id:
                return f"The household was forgotten; all that is kept is that it withdrew at {when}."
            more = " It is forgotten once Axle has nothing of it any more." if site.erasing else ""
            return f"The household withdrew at {when}: no pauses until it consents anew.{more}"
        if removed and taken_away(site, self.charger):
            when = self.clock(removed.at_ms)
            return f"The charger was disconnected at {when}: no pauses until the household consents anew."
        if site.consent:
            return f"The household's consent of {self.clock(site.consent.at_ms)} stands."
        return "No consent of the household is recorded."

    def past(self) -> Iterator[Told]:
        """Record by record; an answer is told with what it answers."""
        before: ModifiedSchedule | None = None
        left = deque(self.records)
        while left:
            record = left.popleft()
            answer = left.popleft() if left and _answers(record, left[0]) else None
            at_ms, gap = record.decided_at_ms, self._gap(before, record)
            if gap:
                yield Told(at_ms, self.clock(at_ms), gap)
            sentences = list(self._happened(before, record))
            if answer:
                sentences.append(self._answered(answer, answer.decided_at_ms - at_ms))
            elif not record.final:
                sentences.append(self._unanswered(record))
            before = answer or record
            yield Told(at_ms, self.clock(at_ms), " ".join(sentences), before.revision, record.caused_by.event_id)

    def _gap(self, before: ModifiedSchedule | None, record: ModifiedSchedule) -> str | None:
        """Where the chain of records is broken, and why that may be."""
        if record.replaces == (before.revision if before else None):
            return None
        if before is None:
            return "What came before this is not in the records any more."
        if before.site_id != record.site_id:
            return f"From here on the charger is at site {record.site_id}."
        if record.replaces is None:
            return "The charger was new to its site here: nothing was known of it any more."
        edges = f"{self.clock(before.decided_at_ms)} and {self.clock(record.decided_at_ms)}"
        return f"Records between {edges} are missing here: not kept any more, or not read."

    def _happened(self, before: ModifiedSchedule | None, record: ModifiedSchedule) -> Iterator[str]:
        """What a record tells by itself: what was done, and what followed at once."""
        follows = record.replaces in {None, before.revision if before else None}
        is_first_word = not record.final or (follows and record.status not in _ANSWERS)
        tells_all = self._tells_all(record)
        if is_first_word and not tells_all:
            lifted = since(before.pauses, record.decided_at_ms) if before and follows else ()
            yield self._done(record) + (f"; that lifted {self._pauses(lifted)}." if lifted else ".")
        if not is_first_word and not tells_all:
            yield f"About {self._noun(record.caused_by)}: {self._answered(record, 0)}"
        elif record.final:
            yield record.reason
        occurred_at_ms = record.caused_by.occurred_at_ms
        late_ms = record.decided_at_ms - occurred_at_ms
        if is_first_word and late_ms >= DELAY_TOLD_MS:
            yield f"The event is of {self.clock(occurred_at_ms)} and was read {_spell(late_ms)} later."

    def _tells_all(self, record: ModifiedSchedule) -> bool:
        """Whether the reason tells what was done, too; as with all that leaves, or could not be understood."""
        is_halt = record.status is Status.FALLBACK and self._deed(record.caused_by) in {Deed.UNCLEAR, Deed.USER_BOOST}
        return is_halt or record.caused_by.kind is Input.CONSENT_WITHDRAWN

    def _done(self, record: ModifiedSchedule) -> str:
        cause, boost = record.caused_by, self.charger.boost
        deed = self._deed(cause)
        if deed is Deed.BOOST and boost:
            return f"The driver boosted until {self.clock(boost.until_ms or 0)}"
        starts_then = any(start == cause.occurred_at_ms for start, _ in record.requested)
        unsure = "wanted to charge at once" if starts_then else "boosted, cancelled a boost or changed the schedule"
        wish = f"the wish is {self._spans(record.requested)}" if record.requested else "nothing is wished for"
        return f"The driver {_DONE.get(deed, unsure)}; {wish}"

    def _answered(self, record: ModifiedSchedule, took_ms: int) -> str:
        took = f" after {_spell(took_ms)}" if took_ms >= DELAY_TOLD_MS else ""
        if record.status is Status.MODIFIED:
            return f"Axle answered{took} with {self._pauses(record.pauses)}."
        if record.status is Status.UNCHANGED:
            return f"Axle answered{took}; no pause came of it."
        return f"{took.strip().capitalize()}: {record.reason}" if took else record.reason

    def _unanswered(self, record: ModifiedSchedule) -> str:
        """What became of a wish that no record answers."""
        if any(later.replaces == record.revision for later in self.records):
            return "Something newer came before Axle answered."
        revision = self.charger.revision or 0
        if record is not self.newest or revision > record.revision:
            return "What came of it is not here."
        is_dropped = revision == record.revision and self.charger.question is None
        return "Its question was dropped before Axle answered." if is_dropped else "Axle is being asked."

    def _deed(self, cause: Cause) -> Deed:
        """What was done: exactly where a register still holds that event, else by the kind of input."""
        charger, boost, base = self.charger, self.charger.boost, self.charger.base
        registers = (
            (Deed.UNCLEAR, charger.halted),
            (Deed.BOOST if boost and boost.until_ms else Deed.CANCEL, boost.stamp if boost else None),
            (Deed.PLUG_IN, charger.plugged),
            (Deed.CHANGE, base.stamp if base else None),
            (Deed.DISCONNECTION, charger.removed),
        )
        found = (deed for deed, stamp in registers if stamp and stamp.event_id == cause.event_id)
        return next(found, Deed[cause.kind.name])

    def owed(self) -> Iterator[str]:
        """What is owed to Axle about this charger or its whole site, since when, and what it waits for."""
        site, charger = self.site, self.charger
        if site is None:
            yield "What is owed to Axle cannot be told without the state."
            return
        leaving, enrolling, question = charger.leaving, charger.enrolling, charger.question
        calls = owed(site, self.now_ms, self.rules)
        of_site = [call for call in calls if isinstance(call, Offboard)]
        mine = [call for call in calls if not isinstance(call, Offboard) and call.charger_id == charger.charger_id]
        asked = [c for c in mine if isinstance(c, AskSchedule) or (isinstance(c, LookUp) and c.for_question)]
        other = [call for call in mine if call not in asked]
        if site.offboarding:
            what = "unenrolling" if of_site and of_site[0].unenrol else "offboarding"
            yield self._debt(f"{what} the whole site", site.offboarding.since_ms, of_site)
        if leaving and not (of_site and charger.axle_asset_id):
            what = "removing this charger" if charger.axle_asset_id else "a look-up of what this charger left behind"
            yield self._debt(what, leaving.since_ms, other)
        if enrolling:
            what = "a look-up of whose charger this is" if enrolling.adopting else "onboarding this charger"
            yield self._debt(what, enrolling.since_ms, [] if leaving else other)
        if question:
            what = "a look-up for the question" if question.looking_up else "a question"
            until = self.clock(gives_up_at_ms(charger, question, self.now_ms, self.rules))
            yield self._debt(f"{what} about its schedule, given up at {until}", question.since_ms, asked)

    def _debt(self, what: str, since_ms: int, calls: Sequence[Intent]) -> str:
        wait = "" if calls else "; something else goes first"
        if calls and calls[0].not_before_ms > self.now_ms:
            wait = f"; not before {self.clock(calls[0].not_before_ms)}"
        return f"Owed to Axle since {self.clock(since_ms)}: {what}{wait}."

    def _noun(self, cause: Cause) -> str:
        return f"the {self._deed(cause)} at {self.clock(cause.occurred_at_ms)}"

    def _pauses(self, pauses: Schedule) -> str:
        return f"a pause {self._spans(pauses)}" if len(pauses) == 1 else f"pauses {self._spans(pauses)}"

    def _spans(self, schedule: Schedule) -> str:
        return _listed([self._span(block) for block in schedule])

    def _span(self, block: Block) -> str:
        """A block in the reader's times; a day that both have is told once."""
        start, end = self.clock(block[0]), self.clock(block[1])
        end = end.removeprefix(start[: start.rfind(" ") + 1])
        return f"{start} to {end}" if " " in end else f"{start}-{end}"


def _answers(asked: ModifiedSchedule, record: ModifiedSchedule) -> bool:
    """Whether a record is the last word on the wish right before it."""
    chain = (asked.revision, asked.caused_by.event_id)
    return not asked.final and record.final and chain == (record.replaces, record.caused_by.event_id)


def _spell(length_ms: int) -> str:
    """A length of time as people say it, rounded down: "12 s", "3 min", "7 h 54 min"."""
    minutes, seconds = divmod(length_ms // 1000, 60)
    if minutes < 60:
        return f"{minutes} min" if minutes else f"{seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _listed(words: Sequence[str]) -> str:
    if len(words) > LISTED_MAX:
        words = [*words[:LISTED_MAX], f"{len(words) - LISTED_MAX} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words) or "none"
