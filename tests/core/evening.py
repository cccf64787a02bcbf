"""One household, its chargers and Axle on some evenings: how things happen, one at a time.

Here is the world around the core: calls that are made, land, are answered, time out or are lost in a crash, and time
that passes. Whether what the core does is right is asked in `promises.py`; what happens next is drawn in
`test_promises.py`. The one idea: like the desk, it has at most one call of a lane under way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from processor.core.decide import decide
from processor.core.events import Answer, Due, Erase, Event, InputEvent, LookedUp, OnboardingRefused, Source
from processor.core.intents import AskSchedule, Intent, LookUp, Offboard, Onboard, Remove, owed
from processor.core.outputs import Erased, Output
from processor.core.rules import Rules
from processor.core.schedule import MINUTE_MS, Schedule, since
from processor.core.site import Site, due_at_ms, gives_up_at_ms
from processor.wire.state import STATE_VERSION, decode_site, encode_site
from tests.core.axle_double import Axle
from tests.core.said import Said
from tests.core.world import RULES, T0

Lane = str | None
"""A charger, for its questions; None, for the enrolment calls of the home."""
Promise = tuple[str, str, int]
"""Something that is owed until it is done: what, at which charger, and the number of a question."""
DEADLINE_MS = MINUTE_MS
"""A call that was not answered by then is given up by its caller, but may still reach Axle ..."""
STRAY_LIFE_MS = 30 * MINUTE_MS
"""... and does so by then: sooner than the last look-up for what a withdrawn home may have left behind."""
Restart = int
"""The version in which a restarted program finds the state."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event, and what came of it."""

    event: Event
    now_ms: int
    before: Site
    after: Site
    outputs: tuple[Output, ...]
    wanted_before: Schedule = ()
    """What the driver wanted from now on before the event was said."""
    is_echo: bool = False
    """The event is an answer that was heard before, or that was given up."""


@dataclass(slots=True)
class Flight:
    """A call under way; with its answer once it has reached Axle."""

    call: Intent
    sent_ms: int
    answer: Answer | None = None


@dataclass
class Evening:
    """All there is; `watch` is shown every step."""

    watch: Callable[[Step], None]
    rules: Rules = RULES
    site: Site = field(default_factory=lambda: Site("home-1"))
    now_ms: int = T0
    axle: Axle = field(default_factory=Axle)
    said: Said = field(default_factory=Said)
    inputs: list[InputEvent] = field(default_factory=list)
    journal: list[tuple[Event | Restart, int]] = field(default_factory=list)
    lanes: dict[Lane, Flight] = field(default_factory=dict)
    strays: list[Flight] = field(default_factory=list)
    echoes: dict[Lane, list[tuple[Intent, Answer]]] = field(default_factory=dict)
    called: set[Promise] = field(default_factory=set)

    @property
    def owed(self) -> tuple[Intent, ...]:
        """Calls that are owed now."""
        return owed(self.site, self.now_ms, self.rules)

    @property
    def due_ms(self) -> int | None:
        """When the home wants to be woken."""
        return due_at_ms(self.site, self.now_ms, self.rules)

    def source(self) -> Source:
        """The next input's place."""
        return Source("in", 0, len(self.inputs) + 1)

    # What happens

    def say(self, event: InputEvent) -> None:
        """An input is read."""
        charger_id = "" if isinstance(event, Erase) else event.charger_id or ""
        wanted_before = since(self.said.wanted(charger_id, self.now_ms), self.now_ms)
        self.inputs.append(event)
        self.said.add(event)
        self._happen(event, wanted_before=wanted_before)

    def ready(self) -> list[Intent]:
        """Calls that may be made now."""
        return [c for c in self.owed if lane_of(c) not in self.lanes and c.not_before_ms <= self.now_ms]

    def send(self, call: Intent) -> Flight:
        """A call is made."""
        self.called |= promises_of(call, self.site)
        self.lanes[lane_of(call)] = flight = Flight(call, self.now_ms)
        return flight

    def land(self, flight: Flight, mood: str) -> None:
        """It reaches Axle, after all earlier ones about the same thing; its answer is under way.

        And what shows a charger shows it after every onboarding of it: no attempt is overtaken by a look-up that finds
        what another attempt did.
        """
        self._strays_land(flight.call)
        flight.answer = self.axle.perform(flight.call, mood)
        # An answer may come twice, but not after Axle's next one about something else; nor a no after a later yes.
        earlier = self.echoes.get(lane_of(flight.call), [])
        kept = [echo for echo in earlier if _same(echo[0], flight.call) and not isinstance(echo[1], OnboardingRefused)]
        self.echoes[lane_of(flight.call)] = [*kept, (flight.call, flight.answer)]

    def hear(self, lane: Lane) -> None:
        """The answer of the call that is under way arrives."""
        flight = self.lanes.pop(lane)
        assert flight.answer is not None
        # It counts for what is owed now, though it may have been sent for an older promise of the same kind.
        self.called |= promises_of(flight.call, self.site)
        self._happen(flight.answer)

    def hear_again(self, answer: Answer) -> None:
        """An answer arrives twice, or after all; or Axle says something of its own accord."""
        self._happen(answer, is_echo=True)

    def hear_echo(self, call: Intent, answer: Answer) -> None:
        """The answer of a call arrives twice, or after all, though the call was made again; that one arrives first."""
        repeated = self.lanes.get(lane_of(call))
        if repeated and repeated.answer is None and _same(repeated.call, call):
            self.land(repeated, "kind")
        self.hear_again(answer)

    def time_out(self, lane: Lane) -> None:
        """Nobody waits any more for the answer of the call that is under way; it may still reach Axle."""
        flight = self.lanes.pop(lane)
        if flight.answer is None:
            self.strays.append(flight)

    def stray_lands(self, flight: Flight) -> None:
        """All calls reach Axle that nobody waits for any more and that are about the same thing."""
        self._strays_land(flight.call)

    def crash(self, state_version: int = STATE_VERSION) -> None:
        """All calls under way are lost; the next program finds the state as that version writes it."""
        for lane in list(self.lanes):
            self.time_out(lane)
        self.journal.append((state_version, self.now_ms))
        self.site = decode_site(encode_site(self.site, state_version))

    def time_passes(self, until_ms: int) -> None:
        """The clock goes on, calls time out, strays arrive, and the home is woken when it is due."""
        self.now_ms = until_ms
        for lane, flight in list(self.lanes.items()):
            if flight.answer is None and self.now_ms >= flight.sent_ms + DEADLINE_MS:
                self.time_out(lane)
        for stray in [stray for stray in self.strays if self.now_ms >= stray.sent_ms + STRAY_LIFE_MS]:
            self.stray_lands(stray)
        if self.due_ms is not None and self.due_ms <= self.now_ms:
            self._happen(Due(self.site.site_id))

    def talk(self, mood: str) -> None:
        """All that is under way and may be asked now is answered."""
        for _ in range(8):
            if not self._goes_on(mood):
                break

    def drain(self) -> None:
        """Axle answers everything, and time passes to the end."""
        for stray in list(self.strays):
            self.stray_lands(stray)
        for _ in range(200):
            if self._goes_on("kind"):
                continue
            times = [call.not_before_ms for call in self.owed] + ([self.due_ms] if self.due_ms is not None else [])
            if not times:
                return
            self.time_passes(max(self.now_ms, min(times)))
        raise AssertionError(f"there is no end to it: {self.owed}")

    def _goes_on(self, mood: str) -> bool:
        """Let one answer arrive, or one call be answered; False when there is none."""
        for lane, flight in self.lanes.items():
            if flight.answer is None:
                self.land(flight, mood)
            self.hear(lane)
            return True
        for call in self.ready():
            self.land(self.send(call), mood)
            self.hear(lane_of(call))
            return True
        return False

    def _strays_land(self, call: Intent) -> None:
        looked_for = call.charger_id if isinstance(call, LookUp) else None
        is_shown = looked_for in self.axle.chargers
        for stray in list(self.strays):
            shown = is_shown and isinstance(stray.call, Onboard) and stray.call.charger_id == looked_for
            if shown or _same(stray.call, call):
                self.strays.remove(stray)
                self.axle.perform(stray.call, "kind")

    def _happen(self, event: Event, *, wanted_before: Schedule = (), is_echo: bool = False) -> None:
        before = self.site
        decision = decide(before, event, self.now_ms, self.rules)
        self.site = decision.site
        self.journal.append((event, self.now_ms))
        self.watch(Step(event, self.now_ms, before, self.site, decision.outputs, wanted_before, is_echo))
        self.called -= promised(self.site) - promised(before)
        if any(isinstance(output, Erased) for output in decision.outputs):
            self.said.forget()


def lane_of(call: Intent) -> Lane:
    """What goes one at a time: the questions of a charger, and the enrolment calls of a home."""
    if isinstance(call, AskSchedule) or (isinstance(call, LookUp) and call.for_question):
        return call.charger_id
    return None


def promised(site: Site) -> set[Promise]:
    """All that the home owes, whether its call can be made now or has to wait for another one."""
    owing: set[Promise] = {("offboard", "", 0)} if site.offboarding else set()
    for charger in site.chargers:
        who = charger.charger_id
        if charger.question:
            owing.add(("question", who, charger.question.number))
        if charger.enrolling:
            owing.add(("onboard", who, 0))
        if charger.leaving:
            owing.add(("leave", who, 0))
    return owing


def promises_of(call: Intent, site: Site) -> set[Promise]:
    """What the call is made for. An offboarding does the removals of the home as well."""
    if isinstance(call, Offboard):
        return {promise for promise in promised(site) if promise[0] in {"offboard", "leave"}}
    kind = "question" if lane_of(call) else "onboard" if isinstance(call, Onboard) else "leave"
    charger = site.charger(call.charger_id)
    if kind == "leave" and charger and not charger.leaving:
        kind = "onboard"
    return {promise for promise in promised(site) if promise[:2] == (kind, call.charger_id)}


def _same(one: Intent, other: Intent) -> bool:
    """Whether two calls are about the same thing: Axle takes them in the order in which they were made."""
    if isinstance(one, Onboard | Remove | LookUp | AskSchedule):
        return type(one) is type(other) and one.charger_id == getattr(other, "charger_id", None)
    return isinstance(other, Offboard) and one.axle_site_id == other.axle_site_id


def ways_to_end(promise: Promise, event: Event, called: set[Promise]) -> set[Promise]:
    """What may have been called for what was promised: a home leaves with its chargers, and the other way round."""
    what, charger_id, _ = promise
    looked_up = {each for each in called if each[0] == "question"} if isinstance(event, LookedUp) else set()
    ways = {
        "question": {("onboard", charger_id, 0)},
        "leave": {("offboard", "", 0), *looked_up},
        "offboard": {each for each in called if each[0] == "leave"} | looked_up,
    }
    return {promise, *ways.get(what, ())}


def is_too_old(promise: Promise, step: Step, rules: Rules) -> bool:
    """Whether time alone has ended it."""
    charger = step.before.charger(promise[1])
    if charger is None or promise[0] not in {"question", "onboard"}:
        return False
    enrolling, question = charger.enrolling, charger.question
    if enrolling and step.now_ms >= enrolling.since_ms + rules.onboarding_life_ms:
        return True
    return question is not None and step.now_ms >= gives_up_at_ms(charger, question, step.now_ms, rules)
