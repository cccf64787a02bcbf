"""The notebook of the stories: a world whose every event is written down as a `Step`, with all that followed.

Here live steps, their words and the clock of the story's night; the stories themselves are in `stories.py`, how they
look is in `draw.py`. The one idea: a story only says what happens and when. What is published and owed after each
step is never written by hand, it is what `decide` made of it.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import singledispatch

from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Due,
    Event,
    InputEvent,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Removed,
    ScheduleAnswered,
    UserBoost,
)
from processor.core.intents import AskSchedule, Intent, LookUp, Onboard, Remove, owed
from processor.core.outputs import Alarm, EnrolmentStatus, ModifiedSchedule, Outcome, Output
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, subtract
from processor.core.site import Site, boost_window
from tests.core.world import T0, World, consented

MIDNIGHT = T0 - 21 * HOUR_MS
"""Every story begins in the evening of that day; clock times before noon are the next morning's."""
DAY_MS = 24 * HOUR_MS


def clock(at: str, day: int = 0) -> int:
    """`21:00:04` as an instant of the story's night, or of the night so many days later."""
    hours, minutes, *seconds = (int(part) for part in at.split(":"))
    at_ms = hours * HOUR_MS + minutes * MINUTE_MS + sum(seconds) * 1000
    return MIDNIGHT + day * DAY_MS + at_ms + (DAY_MS if hours < 12 else 0)


def span(text: str) -> Schedule:
    """`22:00-01:00 01:30-06:00` as a schedule of the story's night."""
    pairs = (block.split("-") for block in text.split())
    return tuple((clock(start), clock(end)) for start, end in pairs)


def day_of(at_ms: int) -> int:
    """Which night that is: 0 is the story's own, which lasts until noon."""
    return (at_ms - MIDNIGHT - 12 * HOUR_MS) // DAY_MS


def moment(at_ms: int) -> str:
    """The time of day as a reader says it, with seconds only where there are some."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def spelled(schedule: Schedule) -> str:
    """A schedule as `span` reads it."""
    return " ".join(f"{moment(start)}-{moment(end)}" for start, end in schedule)


@dataclass(frozen=True)
class Step:
    """One thing that happens: who does what, all that is said to it, and what is owed to Axle afterwards."""

    at_ms: int
    who: str
    what: str
    event: Event | None
    outputs: tuple[Output, ...]
    owed: tuple[Intent, ...]
    boosts: tuple[Schedule, ...] = ()
    """The boost in force in each record that is published, in the records' order."""

    @property
    def records(self) -> list[ModifiedSchedule]:
        """The schedules that are published."""
        return [o for o in self.outputs if isinstance(o, ModifiedSchedule)]

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes that are given."""
        return [o for o in self.outputs if isinstance(o, Outcome)]

    def __str__(self) -> str:
        parts = {
            "says": [spell_output(said) for said in self.outputs if not isinstance(said, Outcome)],
            "settles": [spell_output(outcome) for outcome in self.outcomes],
            "owes": [spell_call(call) for call in self.owed],
        }
        below = (f"{verb} {', '.join(words)}" for verb, words in parts.items() if words)
        return "\n    ".join((f"{moment(self.at_ms)} {self.who} | {self.what}", *below))


def spell_output(said: Output) -> str:
    """What is said, in a few words."""
    if isinstance(said, ModifiedSchedule):
        pauses = f" less {spelled(said.pauses)}" if said.pauses else ""
        return f"{said.charger_id} {said.status} {spelled(said.requested)}{pauses}"
    if isinstance(said, Outcome):
        return f"{said.event_id} as {said.result}"
    if isinstance(said, EnrolmentStatus):
        chargers = " ".join(f"{c.charger_id} {c.status}" for c in said.chargers)
        return f"{said.site_id} {said.consent} ({chargers})"
    return f"alarm {said.kind}" if isinstance(said, Alarm) else "erased"


def spell_call(call: Intent) -> str:
    """A call that is owed, in a few words."""
    if isinstance(call, AskSchedule):
        return f"schedule {call.charger_id} {spelled(call.schedule)}"
    if isinstance(call, LookUp):
        when = f" at {moment(call.not_before_ms)}" if call.not_before_ms else ""
        return f"look up {call.charger_id}{when}"
    if isinstance(call, Onboard):
        return f"onboard {call.charger_id}{' at its site' if call.axle_site_id else ''}"
    return f"remove {call.charger_id}" if isinstance(call, Remove) else f"offboard {call.site_id}"


@dataclass
class Telling(World):
    """A world whose every event is written down. `begun` is False while nothing is told yet."""

    homes: dict[str, Site] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    before: str = "Before: home-1 is not known."
    begun: bool = True

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))

    def tell(self, event: Event, now_ms: int | None = None) -> tuple[Output, ...]:
        """Let it happen, and write down what is said to it."""
        who, what = describe(event)
        if isinstance(event, ScheduleAnswered) and not self._is_open(event):
            who, what = "Axle answers late", f"{what}, to a question that is closed"
        said = super().tell(event, now_ms)
        if isinstance(event, InputEvent):
            what = self._as_read(event, what)
        self._write(who, what, event, said)
        return said

    def note(self, who: str, what: str) -> None:
        """Write down something that the core does not hear of."""
        self._write(who, what, None, ())

    def at(self, at: str, day: int = 0) -> "Telling":
        """Go on at that time."""
        self.now_ms = clock(at, day)
        return self

    def home(self, site_id: str) -> "Telling":
        """Go on at that home."""
        self.homes[self.site.site_id] = self.site
        self.site = self.homes.get(site_id, Site(site_id))
        return self

    def regular(self, *chargers: str) -> "Telling":
        """Let the home have consented, and Axle have taken its chargers, the evening before."""
        self.begun = False
        self.at("21:00", day=-1)
        for charger in chargers:
            self.plug_in(
                schedule=((self.now_ms, self.now_ms + HOUR_MS),),
                enrolment=consented(self.now_ms - HOUR_MS),
                charger=charger,
                event_id=f"old-{charger}",
            )
            self.onboard(charger)
            self.answer(charger=charger)
        self.outputs.clear()
        self.before = f"Before: {self.site.site_id} has consented, and Axle has its {' and '.join(chargers)}."
        self.begun = True
        return self

    def answer_late(self, call: AskSchedule, pauses: Schedule) -> None:
        """Let Axle answer that question with these pauses, whatever became of it."""
        answered = subtract(call.schedule, pauses)
        self.tell(ScheduleAnswered(call.site_id, call.charger_id, call.number, call.schedule, answered))

    def _is_open(self, event: ScheduleAnswered) -> bool:
        question = self.charger_of(event.charger_id).question
        return question is not None and question.number == event.number

    def _as_read(self, event: InputEvent, what: str) -> str:
        if any(isinstance(s.event, InputEvent) and s.event.event_id == event.event_id for s in self.steps):
            return "the same event again"
        if event.occurred_at_ms < self.now_ms:
            return f"{what} (happened at {moment(event.occurred_at_ms)})"
        return what

    def _write(self, who: str, what: str, event: Event | None, said: tuple[Output, ...]) -> None:
        if not self.begun:
            return
        self.homes[self.site.site_id] = self.site
        calls = tuple(call for home in self.homes.values() for call in owed(home, self.now_ms, self.rules))
        boosts = tuple(
            boost_window(self.charger_of(record.charger_id), self.now_ms, self.rules)
            for record in said
            if isinstance(record, ModifiedSchedule)
        )
        self.steps.append(Step(self.now_ms, who, what.strip(", "), event, said, calls, boosts))


@singledispatch
def describe(event: Event) -> tuple[str, str]:
    """Who acts and what happens, as two short phrases. Raises ValueError for what no story tells."""
    raise ValueError(f"no story tells of {type(event).__name__}")


@describe.register
def _(event: PlugIn) -> tuple[str, str]:
    consent = ""
    if event.enrolment:
        consented_at_ms = event.enrolment.consented_at_ms
        age = "an old" if day_of(consented_at_ms) < day_of(event.occurred_at_ms) else "a"
        consent = f", with {age} consent of {moment(consented_at_ms)}"
    return event.event_id, f"{event.charger_id}: {spelled(event.schedule)}{consent}"


@describe.register
def _(event: UserBoost) -> tuple[str, str]:
    if event.action is BoostAction.BOOST and event.boost_until_ms:
        return event.event_id, f"charge now, until {moment(event.boost_until_ms)}"
    if event.action is BoostAction.SCHEDULE_CHANGED and event.schedule:
        return event.event_id, f"charge {spelled(event.schedule)}"
    return event.event_id, "no boost any more"


@describe.register
def _(event: ConsentWithdrawn) -> tuple[str, str]:
    return event.event_id, f"{event.charger_id} is disconnected" if event.charger_id else "of the whole home"


@describe.register
def _(event: Onboarded) -> tuple[str, str]:
    return "Axle onboards", f"{event.charger_id} is taken"


@describe.register
def _(event: OnboardingRefused) -> tuple[str, str]:
    return "Axle refuses", f"409: it has {event.charger_id} already"


@describe.register
def _(event: LookedUp) -> tuple[str, str]:
    if event.found is None:
        return "Axle finds nothing", f"no {event.charger_id} is there"
    return "Axle finds it", f"{event.charger_id}, at meter ...{(event.found.mpan or '')[-4:]}"


@describe.register
def _(event: ScheduleAnswered) -> tuple[str, str]:
    pauses = spelled(subtract(event.sent, event.answered or ())).replace(" ", ", ")
    return "Axle answers", f"pause {pauses}" if pauses else "no pause"


@describe.register
def _(event: Removed) -> tuple[str, str]:
    return "Axle removes", f"{event.charger_id} is gone"


@describe.register
def _(event: Offboarded) -> tuple[str, str]:
    return "Axle offboards", f"{event.site_id} is gone"


@describe.register
def _(_: Due) -> tuple[str, str]:
    return "the clock", "no pause fits in any more"
