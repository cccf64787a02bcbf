"""`axle-processor explain CHARGER`: why its car is charging now, or why it is not, from the topics alone.

Here live the search for the charger's household and the reading. The sentences are `core/explain.py`'s. The one idea:
no processor is asked, so it answers while none is at work, and it changes nothing.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence

import orjson
from confluent_kafka import Message

from processor.cli.cluster import Cluster, Failed, exit_code, now_ms, reached, read_all, state_of
from processor.cli.dlt_letters import REFUSED_TOLD_MAX, Filters, find, in_a_line
from processor.cli.schema_registry import codec_of
from processor.cli.wiring import rules_of
from processor.core.explain import Story, explain
from processor.core.outputs import Enrolled, EnrolmentStatus, ModifiedSchedule, Outcome
from processor.core.rules import Rules
from processor.core.site import Site
from processor.settings import SettingsWrong, load
from processor.shell.contract import TopicsUnfit
from processor.shell.exits import EXIT_FAILURE
from processor.shell.partition import task_of
from processor.wire.avro import OUTPUT_RECORDS, Codec, RecordT, Undecodable
from processor.wire.instants import iso_z
from processor.wire.state import BadState


def explain_verb(charger_id: str, *, site_id: str | None, as_json: bool, timeout_seconds: float) -> int:
    """Find the charger, read what is known of it, and tell it. Returns the exit code."""

    def work() -> int:
        settings = load()
        try:
            rules = rules_of(settings)
        except ValueError as wrong:
            raise SettingsWrong(str(wrong)) from wrong
        topics = settings.topics
        needed = (topics.modified_schedule, topics.enrolment_status, topics.outcomes, topics.state)
        look = _Look(
            reached(settings, needed),
            lambda: reached(settings, (topics.dead_letter,)),
            codec_of(settings, OUTPUT_RECORDS.values()),
            _text(charger_id),
            time.monotonic() + timeout_seconds,
        )
        return _tell(look, _text(site_id) if site_id else None, rules, as_json=as_json)

    return exit_code(work, "stopped reading; nothing was changed")


def _text(argument: str) -> str:
    """An argument as text: a terminal may hand over bytes that are none."""
    return argument.encode(errors="replace").decode()


class _Look:
    """Reads what the topics have of one charger, all of it before the deadline (monotonic).

    `refusals` reaches the dead letters, which few may read.
    """

    def __init__(
        self, cluster: Cluster, refusals: Callable[[], Cluster], codec: Codec, charger_id: str, deadline: float
    ) -> None:
        self.names = cluster.names
        self._cluster = cluster
        self._refusals = refusals
        self._deadline = deadline
        self._codec = codec
        self.charger_id = charger_id
        self._key = charger_id.encode()

    def records(self) -> list[ModifiedSchedule]:
        """Its records. They are in one partition, unless the topic was given more of them meanwhile."""
        found: list[ModifiedSchedule] = []

        def take(message: Message) -> None:
            if message.key() == self._key:
                found.extend(self._decoded(ModifiedSchedule, message))

        everywhere = self._cluster.all_of(self.names.modified_schedule)
        own = everywhere[task_of(self._key.decode(), len(everywhere))]
        read_all(self._cluster, [own], take, self._deadline)
        if not found and len(everywhere) > 1:
            read_all(self._cluster, [each for each in everywhere if each != own], take, self._deadline)
        return found

    def site_id(self) -> str | None:
        """Its household, for a charger without a record: out of the enrolment statuses, or else the outcomes."""
        return self._enrolled_at() or self._heard_at()

    def _enrolled_at(self) -> str | None:
        """The household that holds it; of several the one that was changed last, and first those it has not left."""
        found: dict[bytes, tuple[bool, int, str]] = {}

        def take(message: Message) -> None:
            key = message.key() or b""
            found.pop(key, None)
            for status in self._mentions(EnrolmentStatus, message):
                for charger in status.chargers:
                    if charger.charger_id == self.charger_id:
                        is_there = charger.status not in {Enrolled.LEAVING, Enrolled.REMOVED}
                        found[key] = (is_there, status.changed_at_ms, status.site_id)

        self._all(self.names.enrolment_status, take)
        return max(found.values())[2] if found else None

    def _heard_at(self) -> str | None:
        """The household that an event about it named last."""
        newest: list[tuple[int, str]] = []

        def take(message: Message) -> None:
            for outcome in self._mentions(Outcome, message):
                if outcome.charger_id == self.charger_id and outcome.site_id:
                    newest[:] = [max([*newest, (outcome.settled_at_ms, outcome.site_id)])]

        self._all(self.names.outcomes, take)
        return newest[0][1] if newest else None

    def site(self, site_id: str) -> Site | None:
        """The household's state. One that cannot be read is told of, and counts as none."""
        try:
            return state_of(self._cluster, site_id, self._deadline)
        except BadState as unread:
            print(f"the state of site {site_id} cannot be read: {unread}", file=sys.stderr)
            return None

    def refused(self, site_id: str | None) -> list[str]:
        """The newest dead letters of its household, a line each. Who may not read them hears that, and the rest."""
        words = [self.charger_id, *([site_id] if site_id else [])]
        try:
            found = find(self._refusals(), Filters(sites=words), self._deadline)
        except (Failed, TopicsUnfit) as failure:
            print(f"records of it that were refused are not told: {failure}", file=sys.stderr)
            return []
        return [in_a_line(letter, found.replayed) for letter in found.letters[-REFUSED_TOLD_MAX:]]

    def _all(self, topic: str, take: Callable[[Message], None]) -> None:
        read_all(self._cluster, self._cluster.all_of(topic), take, self._deadline)

    def _mentions(self, kind: type[RecordT], message: Message) -> Iterator[RecordT]:
        """The record, where its bytes hold the charger's id: decoding all of them would take minutes."""
        if self._key in (message.value() or b""):
            yield from self._decoded(kind, message)

    def _decoded(self, kind: type[RecordT], message: Message) -> Iterator[RecordT]:
        value = message.value()
        if value is None:
            return
        try:
            yield self._codec.decode_output(kind, value)
        except Undecodable as unread:
            place = f"{message.topic()} [{message.partition()}] at offset {message.offset()}"
            print(f"a record is passed over ({place}): {unread.reason}", file=sys.stderr)


def _tell(look: _Look, site_id: str | None, rules: Rules, *, as_json: bool) -> int:
    records = look.records()
    newest = max(records, key=lambda record: record.revision, default=None)
    site_id = site_id or (newest.site_id if newest else look.site_id())
    site = look.site(site_id) if site_id else None
    if newest is None and not (site and site.charger(look.charger_id)):
        print(_unknown(look, site_id, site, rules), file=sys.stderr)
        return EXIT_FAILURE
    at_ms = now_ms()
    story = explain(site, look.charger_id, records, at_ms, rules)
    refused = look.refused(site_id)
    print(_json(story, site_id, at_ms, refused) if as_json else _page(story, site_id, refused))
    return 0


def _unknown(look: _Look, site_id: str | None, site: Site | None, rules: Rules) -> str:
    """That nothing is known of the charger, as far as was looked, and what to try."""
    if site:
        held = " ".join(explain(site, look.charger_id, (), now_ms(), rules).known)
        return f"unknown charger {look.charger_id}: no record tells of it. {held} Check both ids."
    if site_id:
        return (
            f"unknown charger {look.charger_id}: no record tells of it, and there is no state of site {site_id}. Check "
            "both ids, and whether `axle-processor run` has the same topics and is at work."
        )
    names = look.names
    return (
        f"unknown charger {look.charger_id}: nothing in {names.modified_schedule}, {names.enrolment_status} and "
        f"{names.outcomes} tells of it. Check the id; if nothing happened at it for a week, name its household: --site."
    )


def _page(story: Story, site_id: str | None, refused: Sequence[str]) -> str:
    """The story for a person, times in UTC."""
    heading = f"{story.charger_id}{f' at site {site_id}' if site_id else ''} (times are UTC): {story.now}"
    past = [
        f"{told.at}  {told.sentence}" + (f"  [revision {told.revision}]" if told.revision is not None else "")
        for told in story.past
    ]
    parts = {
        "What is known": story.known,
        "What happened": past,
        "What is owed": story.owed,
        "What was refused of its household (`axle-processor dlt show`)": refused,
    }
    listed = [f"{title}:\n" + "\n".join(f"  {line}" for line in lines) for title, lines in parts.items() if lines]
    return "\n".join([heading, *listed])


def _json(story: Story, site_id: str | None, at_ms: int, refused: Sequence[str]) -> str:
    told = {
        "charger_id": story.charger_id,
        "site_id": site_id,
        "told_at": iso_z(at_ms),
        "now": story.now,
        "known": story.known,
        "past": [
            {
                "at": iso_z(each.at_ms),
                "sentence": each.sentence,
                "revision": each.revision,
                "event_id": each.event_id,
            }
            for each in story.past
        ],
        "owed": story.owed,
        "refused": refused,
    }
    return orjson.dumps(told).decode()
