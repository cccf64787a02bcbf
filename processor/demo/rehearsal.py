"""A rehearsal: a story played through the real core and the real wire formats, in one thread, on a clock of its own.

No broker, no socket and no wall clock is here, so the same seed gives the same history to the last millisecond: what
pictures are drawn from, and what the verifier's own tests begin with. The idea: it has the demo's seams. Events go in
as bytes, Axle's operations are the simulator's, and what comes out is heard by the same `History` and `Scene`.
"""

from collections import Counter
from collections.abc import Mapping

import orjson

from processor.core.decide import decide
from processor.core.events import Answer, Event, Input, Source
from processor.core.intents import Intent, owed
from processor.core.outputs import ModifiedSchedule, Outcome, Result
from processor.core.rules import Rules
from processor.core.site import Site
from processor.demo.axle_operations import OPERATIONS, Axle, Operation, Request, Tokens, entities
from processor.demo.axle_world import PausePolicy, World
from processor.demo.history import History, Published, Settled
from processor.demo.scene import Scene
from processor.demo.sender import Put
from processor.demo.traffic import Story, encode
from processor.shell.schema_files import schema_texts
from processor.wire import axle as wire
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits, Rejected, read_input

_TOPICS: Mapping[Input, str] = {kind: f"ev.{kind.value.lower().replace('_', '-')}.v1" for kind in Input}
# As in the demo on two cores, where half of the first records come within 10 to 12 ms of their event.
_APPEND_MS, _READ_MS, _CALL_MS = 2, 9, 25
_CALLS_MAX = 20


class Rehearsal:
    """`chargers` chargers from `start_ms` on. What happened is in `history`, what is to be seen in `scene`."""

    def __init__(self, chargers: int, start_ms: int, seed: int = 1, pause_share: float = 0.67) -> None:
        self.now_ms = start_ms
        self.history = History()
        self.scene = Scene()
        self._start_ms = start_ms
        self._story = Story(chargers, seed)
        self._codec = Codec(schema_texts())
        self._rules = Rules()
        self._sites: dict[str, Site] = {}
        self._offsets: Counter[str] = Counter()
        self._axle = Axle(World(PausePolicy(share=pause_share, seed=seed)), Tokens(1.0, 0, float), None, None)

    def play(self, events: int, every_ms: int) -> None:
        """So many events, one every so many milliseconds; everything they lead to has happened at the end."""
        for _ in range(events):
            self.now_ms += every_ms
            self._take(self._put())
        self.history.axle = self._axle.world.snapshot()

    @property
    def seconds(self) -> float:
        """How long it has been going on."""
        return (self.now_ms - self._start_ms) / 1000

    def _put(self) -> Put:
        planned = self._story.next(self.now_ms)
        topic = _TOPICS[planned.kind]
        put = Put(planned, Source(topic, 0, self._offsets[topic]), self.now_ms + _APPEND_MS)
        self._offsets[topic] += 1
        self.history.puts.append(put)
        self.scene.hear_put(put, self.seconds)
        return put

    def _take(self, put: Put) -> None:
        """What the processor does with a record, and then with all that its site owes Axle."""
        source = put.place or Source("", 0, 0)
        value = encode(put.planned, self._codec)
        said = read_input(put.planned.kind, value, source, put.appended_ms, self._codec, InputLimits())
        at_ms = put.appended_ms + _READ_MS
        if isinstance(said, Rejected):
            self.history.dead_letters.append(source)
            if said.unreadable is None:
                self._hear(Outcome(None, source, None, None, Result.INVALID, at_ms))
                return
            self._decide(said.unreadable.site_id, said.unreadable, at_ms)
            return
        self._decide(said.site_id, said, at_ms)
        for _ in range(_CALLS_MAX):
            at_ms += _CALL_MS
            calls = [call for call in owed(self._site(said.site_id), at_ms, self._rules) if call.not_before_ms <= at_ms]
            if not calls:
                return
            self._decide(said.site_id, self._call(calls[0], at_ms), at_ms + _READ_MS)

    def _site(self, site_id: str) -> Site:
        return self._sites.get(site_id, Site(site_id))

    def _decide(self, site_id: str, event: Event, at_ms: int) -> None:
        decision = decide(self._site(site_id), event, at_ms, self._rules)
        self._sites[site_id] = decision.site
        for output in decision.outputs:
            if isinstance(output, ModifiedSchedule | Outcome):
                self._hear(output)

    def _hear(self, output: ModifiedSchedule | Outcome) -> None:
        if isinstance(output, ModifiedSchedule):
            published = Published(output, output.decided_at_ms + _APPEND_MS)
            self.history.published.append(published)
            self.scene.hear_published(published, self.seconds)
        else:
            settled = Settled(output, output.settled_at_ms + _APPEND_MS)
            self.history.settled.append(settled)
            self.scene.hear_settled(settled)

    def _call(self, intent: Intent, at_ms: int) -> Answer:
        replies: tuple[wire.Reply, ...] = ()
        step = wire.request(intent)
        while True:
            replies = (*replies, self._perform(step, at_ms))
            meant = wire.conclude(intent, replies)
            if isinstance(meant, wire.Again):
                raise AssertionError(f"the simulated Axle has no fault, and says {meant.why}")
            if not isinstance(meant, wire.Request):
                return meant
            step = meant

    def _perform(self, step: wire.Request, at_ms: int) -> wire.Reply:
        """The call at the simulator, with a line in its log as the real one writes it."""
        operation, variables = _route(step.method, step.path)
        body = orjson.loads(step.body) if step.body else None
        request = Request(variables, "", "application/json", step.body or b"", body)
        about = entities(request, self._axle.world)
        answer = self._axle.perform(operation, request)
        after = entities(request, self._axle.world)
        self.history.calls.append(
            {
                "n": len(self.history.calls) + 1,
                "at_ms": at_ms,
                "method": step.method,
                "path": step.path,
                "endpoint": operation.endpoint,
                "external_id": about.external_id or after.external_id,
                "axle_site_id": about.axle_site_id or after.axle_site_id,
                "asset_id": about.asset_id or after.asset_id,
                "body": body,
                "answer": answer.body,
                "status": answer.status,
                "fault": None,
                "effect": answer.effect,
            }
        )
        return wire.Reply(answer.status, b"" if answer.body is None else orjson.dumps(answer.body))


def _route(method: str, path: str) -> tuple[Operation, dict[str, str]]:
    """The operation of a path, and the variables in it."""
    parts = path.split("/")
    for operation in OPERATIONS:
        pattern = operation.path.split("/")
        if operation.method != method or len(pattern) != len(parts):
            continue
        pairs = list(zip(pattern, parts, strict=True))
        if all(word == part or word.startswith("{") for word, part in pairs):
            return operation, {word.strip("{}"): part for word, part in pairs if word.startswith("{")}
    raise AssertionError(f"Axle has no {method} {path}")
