"""The outbox: core outputs and states as records to produce. Which topic, key, partition and headers: all of it here.

How they look as bytes is in `wire/`. Nothing is sent here.
"""

from collections.abc import Mapping

from processor.core.intents import owed
from processor.core.outputs import Alarm, EnrolmentStatus, ModifiedSchedule, Outcome, Output
from processor.core.rules import Rules
from processor.core.schedule import end_ms
from processor.core.site import Site, due_at_ms, withdrawn
from processor.shell.records import Headers, Partition, Produce
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from processor.wire.cloudevents import headers
from processor.wire.state import CHECKPOINT_KEY, Checkpoint, encode_checkpoint, encode_site, state_headers


class Outbox:
    """Turns what was decided into records."""

    def __init__(self, names: TopicNames, codec: Codec, rules: Rules, source: str) -> None:
        """`source` is the CloudEvents source of all records, for example `/axle-processor/production`."""
        self._names = names
        self._codec = codec
        self._rules = rules
        self._source = source

    def record(self, output: Output) -> Produce | None:
        """Step 6: the record of one output; an alarm has none."""
        if isinstance(output, Alarm):
            return None
        value = self._codec.encode(output)
        ce_headers: Headers = [*headers(output, self._source)]
        if isinstance(output, ModifiedSchedule):
            return Produce(self._names.modified_schedule, output.charger_id.encode(), value, ce_headers)
        if isinstance(output, EnrolmentStatus):
            return Produce(self._names.enrolment_status, output.site_id.encode(), value, ce_headers)
        return Produce(self._names.outcomes, _outcome_key(output), value, ce_headers)

    def state(self, task: int, site: Site, now_ms: int) -> Produce:
        """The site's new state for the changelog; its headers tell a restore what it must not overlook."""
        marks: Headers = [
            *state_headers(
                due_at_ms=due_at_ms(site, now_ms, self._rules),
                owes=bool(owed(site, now_ms, self._rules)),
                withdrawn_since_ms=site.withdrawal.at_ms if site.withdrawal and withdrawn(site) else None,
                paused_until_ms=_paused_until_ms(site),
            )
        ]
        return Produce(self._names.state, site.site_id.encode(), encode_site(site), marks, task)

    def checkpoint(self, task: int, positions: Mapping[Partition, int], *, released: bool) -> Produce:
        """Where the task's inputs go on after this transaction."""
        value = encode_checkpoint(Checkpoint(dict(positions), released))
        return Produce(self._names.state, CHECKPOINT_KEY, value, [], task)


def _outcome_key(outcome: Outcome) -> bytes:
    if outcome.site_id is not None:
        return outcome.site_id.encode()
    source = outcome.source
    return f"{source.topic}-{source.partition}-{source.offset}".encode()


def _paused_until_ms(site: Site) -> int | None:
    ends = [end for charger in site.chargers if (end := end_ms(charger.pauses)) is not None]
    return max(ends, default=None)
