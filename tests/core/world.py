"""Props for tests of the core: a household, its events, and a fold that keeps what was said."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from processor.core.decide import decide
from processor.core.events import (
    BoostAction,
    ConsentWithdrawn,
    Due,
    Enrolment,
    Erase,
    Event,
    Found,
    Input,
    LookedUp,
    Offboarded,
    Onboarded,
    OnboardingRefused,
    PlugIn,
    Refusal,
    Removed,
    ScheduleAnswered,
    ScheduleRefused,
    Source,
    StillListed,
    Unreadable,
    UserBoost,
    WithdrawalReason,
)
from processor.core.intents import AskSchedule, Intent, LookUp, owed
from processor.core.outputs import Alarm, EnrolmentStatus, ModifiedSchedule, Outcome, Output, Result, Status
from processor.core.rules import Rules
from processor.core.schedule import HOUR_MS, MINUTE_MS, Schedule, subtract
from processor.core.site import Asker, Charger, Site, due_at_ms

NIGHT = 1_751_061_600_000
"""2025-06-27T22:00Z, when the guide's example charge begins."""
T0 = NIGHT - HOUR_MS
RULES = Rules()
GUIDE_SCHEDULE: Schedule = ((NIGHT, NIGHT + 8 * HOUR_MS),)
GUIDE_PAUSE: Schedule = ((NIGHT + 3 * HOUR_MS, NIGHT + 4 * HOUR_MS),)
ENROLMENT = Enrolment("1234567890123", "SW1A 1AA", "10 Downing Street", T0 - HOUR_MS, T0 - HOUR_MS)
MPAN = ENROLMENT.mpan
STRANGER = "9999999999999"
"""The meter of a neighbour, whose site nobody may ever touch."""


def at(hours: float, minutes: float = 0) -> int:
    """An instant so long after the evening's first event."""
    return T0 + round(hours * HOUR_MS + minutes * MINUTE_MS)


@dataclass
class World:
    """A site that events happen to, with everything that was ever said."""

    site: Site = field(default_factory=lambda: Site("home-1"))
    now_ms: int = T0
    rules: Rules = RULES
    outputs: list[Output] = field(default_factory=list)
    offset: int = 0

    def tell(self, event: Event, now_ms: int | None = None) -> tuple[Output, ...]:
        """Let it happen; returns what was said to it."""
        self.now_ms = self.now_ms if now_ms is None else now_ms
        decision = decide(self.site, event, self.now_ms, self.rules)
        self.site = decision.site
        self.outputs.extend(decision.outputs)
        return decision.outputs

    def source(self, topic: str = "in") -> Source:
        """The next record's place."""
        self.offset += 1
        return Source(topic, 0, self.offset)

    def plug_in(
        self,
        at_ms: int | None = None,
        schedule: Schedule = GUIDE_SCHEDULE,
        enrolment: Enrolment | None = None,
        charger: str = "c-1",
        event_id: str | None = None,
    ) -> tuple[Output, ...]:
        """A plug-in, read at once."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        event_id = event_id or f"e{source.offset}"
        event = PlugIn(event_id, when, source, self.site.site_id, charger, schedule, 7.4, enrolment)
        return self.tell(event, max(self.now_ms, when))

    def boost(
        self,
        at_ms: int | None = None,
        until_ms: int | None = None,
        action: BoostAction = BoostAction.BOOST,
        schedule: Schedule | None = None,
        charger: str = "c-1",
        event_id: str | None = None,
    ) -> tuple[Output, ...]:
        """A boost, a cancel or a change, read at once."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        event_id = event_id or f"e{source.offset}"
        event = UserBoost(event_id, when, source, self.site.site_id, charger, action, until_ms, schedule)
        return self.tell(event, max(self.now_ms, when))

    def withdraw(
        self, at_ms: int | None = None, charger: str | None = None, event_id: str | None = None
    ) -> tuple[Output, ...]:
        """A withdrawal of the site, or of one charger."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        reason = WithdrawalReason.CHARGER_DISCONNECTED if charger else WithdrawalReason.CONSENT_WITHDRAWN
        event_id = event_id or f"e{source.offset}"
        event = ConsentWithdrawn(event_id, when, source, self.site.site_id, charger, reason)
        return self.tell(event, max(self.now_ms, when))

    def erase(self, at_ms: int | None = None, event_id: str | None = None) -> tuple[Output, ...]:
        """An order to forget the site."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        event = Erase(event_id or f"e{source.offset}", when, source, self.site.site_id)
        return self.tell(event, max(self.now_ms, when))

    def still_listed(
        self, left_at_ms: int, at_ms: int | None = None, charger: str = "c-1", event_id: str | None = None
    ) -> tuple[Output, ...]:
        """An order to look for a charger that left at that time."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        event_id = event_id or f"e{source.offset}"
        event = StillListed(event_id, when, source, self.site.site_id, charger, left_at_ms)
        return self.tell(event, max(self.now_ms, when))

    def unreadable(
        self, at_ms: int | None = None, charger: str = "c-1", event_id: str | None = None
    ) -> tuple[Output, ...]:
        """A driver's action that broke the contract, read at once."""
        when = self.now_ms if at_ms is None else at_ms
        source = self.source()
        event = Unreadable(event_id or f"e{source.offset}", when, source, self.site.site_id, charger, Input.USER_BOOST)
        return self.tell(event, max(self.now_ms, when))

    def enrolled(self, charger: str = "c-1") -> "World":
        """Plug in with a consent and let Axle take the charger; the question is left open."""
        self.plug_in(enrolment=ENROLMENT, charger=charger)
        self.onboard(charger)
        return self

    def settled(self, pauses: Schedule = (), charger: str = "c-1") -> "World":
        """An enrolled charger whose question Axle has answered with these pauses."""
        self.enrolled(charger)
        self.answer(pauses, charger)
        return self

    def answer(self, pauses: Schedule = (), charger: str = "c-1", now_ms: int | None = None) -> tuple[Output, ...]:
        """Let Axle answer the open question with these pauses."""
        self.now_ms = self.now_ms if now_ms is None else now_ms
        call = self.question(charger)
        answered = subtract(call.schedule, pauses)
        return self.tell(ScheduleAnswered(self.site.site_id, charger, call.number, call.schedule, answered))

    def refuse(self, why: Refusal, charger: str = "c-1") -> tuple[Output, ...]:
        """Let Axle refuse the open question."""
        return self.tell(ScheduleRefused(self.site.site_id, charger, self.question(charger).number, why))

    def onboard(self, charger: str = "c-1", axle_site: str = "axle-site") -> tuple[Output, ...]:
        """Let Axle take the charger."""
        return self.tell(Onboarded(self.site.site_id, charger, axle_site, f"axle-{charger}"))

    def refuse_onboarding(self, why: Refusal, charger: str = "c-1") -> tuple[Output, ...]:
        """Let Axle not take the charger."""
        consented_at_ms = self.site.enrolment.consented_at_ms if self.site.enrolment else 0
        return self.tell(OnboardingRefused(self.site.site_id, charger, why, consented_at_ms))

    def look_up(
        self, mpan: str | None = None, charger: str = "c-1", axle_site: str = "axle-site"
    ) -> tuple[Output, ...]:
        """Let Axle tell what it knows of the charger: a site with that MPAN, or nothing."""
        found = None if mpan is None else Found(axle_site, f"axle-{charger}", mpan)
        calls = [c for c in self.owed if isinstance(c, LookUp) and c.charger_id == charger]
        for_question = all(call.for_question for call in calls) if calls else False
        return self.tell(LookedUp(self.site.site_id, charger, found, for_question))

    def remove(self, charger: str = "c-1") -> tuple[Output, ...]:
        """Let Axle confirm a removal."""
        return self.tell(Removed(self.site.site_id, charger, f"axle-{charger}"))

    def offboard(self, axle_site: str = "axle-site", *, kept: bool = False) -> tuple[Output, ...]:
        """Let Axle confirm an offboarding, or an unenrolment that keeps the site."""
        return self.tell(Offboarded(self.site.site_id, axle_site, kept))

    def question(self, charger: str = "c-1") -> AskSchedule:
        """The schedule call that is owed for the charger."""
        calls = [c for c in self.owed if isinstance(c, AskSchedule) and c.charger_id == charger]
        assert len(calls) == 1, f"owed: {self.owed}"
        return calls[0]

    def is_asking(self, charger: str = "c-1") -> bool:
        """Whether a schedule call is owed for the charger."""
        return any(isinstance(call, AskSchedule) and call.charger_id == charger for call in self.owed)

    def wake(self, now_ms: int) -> tuple[Output, ...]:
        """Let the time come."""
        return self.tell(Due(self.site.site_id), now_ms)

    @property
    def owed(self) -> list[Intent]:
        """Calls that are owed now."""
        return list(owed(self.site, self.now_ms, self.rules))

    @property
    def due_ms(self) -> int | None:
        """When the site wants to be woken."""
        return due_at_ms(self.site, self.now_ms, self.rules)

    @property
    def charger(self) -> Charger:
        """The first charger."""
        return self.charger_of("c-1")

    @property
    def records(self) -> list[ModifiedSchedule]:
        """All schedules that were published."""
        return [o for o in self.outputs if isinstance(o, ModifiedSchedule)]

    @property
    def last(self) -> ModifiedSchedule:
        """The newest schedule."""
        return self.records[-1]

    def charger_of(self, charger: str) -> Charger:
        """The charger of that id."""
        found = self.site.charger(charger)
        assert found is not None
        return found

    def outcome(self, event_id: str) -> list[Result]:
        """The outcomes that the event of that id got, in order."""
        return [result for who, result in self.results if who == event_id]

    @property
    def results(self) -> list[tuple[str | None, Result]]:
        """Who got which outcome, in order."""
        return [(o.event_id, o.result) for o in self.outcomes]

    @property
    def statuses(self) -> list[Status]:
        """How the published schedules came to be, in order."""
        return [record.status for record in self.records]

    @property
    def outcomes(self) -> list[Outcome]:
        """All outcomes, in order."""
        return [o for o in self.outputs if isinstance(o, Outcome)]

    @property
    def alarms(self) -> list[str]:
        """What people were told."""
        return [o.kind.value for o in self.outputs if isinstance(o, Alarm)]

    @property
    def enrolment_statuses(self) -> list[EnrolmentStatus]:
        """What back ends were told."""
        return [o for o in self.outputs if isinstance(o, EnrolmentStatus)]


def results_of(outputs: tuple[Output, ...]) -> list[Result]:
    """The outcomes among some outputs."""
    return [o.result for o in outputs if isinstance(o, Outcome)]


def consented(at_ms: int) -> Enrolment:
    """The guide's household, consenting at that time."""
    return replace(ENROLMENT, boundary_meter_consent_at_ms=at_ms, consented_at_ms=at_ms)


def waiting(site: Site) -> list[Source]:
    """The inputs that still wait for their outcome."""
    askers: list[Asker | None] = [site.offboarding.asker if site.offboarding else None]
    for charger in site.chargers:
        askers.append(charger.question.asker if charger.question else None)
        askers.append(charger.leaving.asker if charger.leaving else None)
    return [asker.source for asker in askers if asker]


def two_chargers() -> World:
    """A site with two chargers that Axle has and that it pauses."""
    world = World().settled(GUIDE_PAUSE)
    world.plug_in(enrolment=ENROLMENT, charger="c-2")
    world.onboard("c-2")
    world.answer(GUIDE_PAUSE, "c-2")
    return world


def onboarding() -> World:
    """A charger whose onboarding is under way."""
    world = World()
    world.plug_in(enrolment=ENROLMENT)
    return world


def look_in_vain(world: World, charger: str = "c-1") -> None:
    """Let all look-ups that are owed find nothing, each at its time."""
    for _ in world.rules.look_up_delays_ms:
        call = world.owed[0]
        assert isinstance(call, LookUp)
        world.now_ms = max(world.now_ms, call.not_before_ms)
        world.look_up(charger=charger)
