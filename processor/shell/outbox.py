"""The outbox: core outputs and states as records to produce. Which topic, key, partition and headers: all of it here.

How they look as bytes is in `wire/`. Nothing is sent here.
"""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from processor.core.intents import owed
from processor.core.outputs import Alarm, EnrolmentStatus, Erased, ModifiedSchedule, Outcome, Output
from processor.core.rules import Rules
from processor.core.site import Site, due_at_ms, is_erased, withdrawn
from processor.shell.census import paused_until_ms
from processor.shell.records import Headers, Partition, Produce
from processor.shell.topics import TopicNames
from processor.wire.avro import Codec
from processor.wire.cloudevents import headers
from processor.wire.state import (
    CHECKPOINT_KEY,
    ERASED_PREFIX,
    STATE_VERSION,
    Checkpoint,
    encode_checkpoint,
    encode_site,
    erased_key,
    state_headers,
)


class Outbox:
    """Turns what was decided into records."""

    def __init__(
        self,
        names: TopicNames,
        codec: Codec,
        rules: Rules,
        source: str,
        *,
        write_version: int | None = None,
        tasks: int | None = None,
        topic_ids: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`source` is the CloudEvents source of all records, for example `/axle-processor/production`.

        `write_version`: the state version to write, one of `wire.state.WRITABLE_VERSIONS`; None: the newest.
        `tasks` and `topic_ids` go into each checkpoint: a later start compares them with what it finds.
        """
        self._names = names
        self._codec = codec
        self._rules = rules
        self._source = source
        self._tasks = tasks
        self._topic_ids = topic_ids
        self._write_version = STATE_VERSION if write_version is None else write_version

    def record(self, output: Output) -> Produce | None:
        """Step 6: the record of one output; an alarm has none, and an erasure takes back what was told of the site."""
        if isinstance(output, Alarm):
            return None
        if isinstance(output, Erased):
            return Produce(self._names.enrolment_status, output.site_id.encode(), None)
        value = self._codec.encode(output)
        ce_headers: Headers = [*headers(output, self._source)]
        if isinstance(output, ModifiedSchedule):
            return Produce(self._names.modified_schedule, output.charger_id.encode(), value, ce_headers)
        if isinstance(output, EnrolmentStatus):
            return Produce(self._names.enrolment_status, output.site_id.encode(), value, ce_headers)
        return Produce(self._names.outcomes, _outcome_key(output), value, ce_headers)

    def states(self, task: int, site: Site, now_ms: int, previous: bytes | None, *, owes: bool) -> list[Produce]:
        """What the changelog gets of a site that changed: its state, in place of the `previous` one.

        `owes`: whether it owes a call to Axle.

        Of an erased site its own key loses the state. The withdrawal that is left goes under a keyed hash of the
        site's id, so a replay of its old events finds it. Nothing of the previous state is kept then.
        """
        if not is_erased(site):
            return [self._state(site.site_id, task, site, now_ms, previous, owes=owes)]
        key = erased_key(site.site_id, self._rules.secret)
        left = self._state(key, task, replace(site, site_id=key.removeprefix(ERASED_PREFIX)), now_ms, None, owes=False)
        return [Produce(self._names.state, site.site_id.encode(), None, [], task), left]

    def state(self, task: int, site: Site, now_ms: int, previous: bytes | None = None) -> Produce:
        """The site's new state for the changelog; its headers tell a restore what it must not overlook.

        What a newer program wrote into the `previous` one stays in it; see `encode_site`.
        """
        owes = bool(owed(site, now_ms, self._rules))
        return self._state(site.site_id, task, site, now_ms, previous, owes=owes)

    def _state(self, key: str, task: int, site: Site, now_ms: int, previous: bytes | None, *, owes: bool) -> Produce:
        marks: Headers = [
            *state_headers(
                due_at_ms=due_at_ms(site, now_ms, self._rules),
                owes=owes,
                withdrawn_since_ms=site.withdrawal.at_ms if site.withdrawal and withdrawn(site) else None,
                paused_until_ms=paused_until_ms(site),
            )
        ]
        value = encode_site(site, self._write_version, previous)
        return Produce(self._names.state, key.encode(), value, marks, task)

    def checkpoint(self, task: int, positions: Mapping[Partition, int], *, released: bool) -> Produce:
        """Where the task's inputs go on after this transaction."""
        checkpoint = Checkpoint(dict(positions), released, self._tasks, self._topic_ids)
        value = encode_checkpoint(checkpoint, self._write_version)
        return Produce(self._names.state, CHECKPOINT_KEY, value, [], task)


def _outcome_key(outcome: Outcome) -> bytes:
    if outcome.site_id is not None:
        return outcome.site_id.encode()
    source = outcome.source
    return f"{source.topic}-{source.partition}-{source.offset}".encode()
