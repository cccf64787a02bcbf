"""Intake: where a record is settled, the hop, orders, and dead letters."""

from dataclasses import replace

import pytest
from msgspec import structs

from processor.core.events import Erase, PlugIn, Source, StillListed, Unreadable
from processor.shell.intake import (
    DEAD_LETTER_BYTES_MAX,
    ORDER_BYTES_MAX,
    RECORD_BYTES_MAX,
    Intake,
    event_of,
    order_to_erase,
    order_to_look,
)
from processor.shell.partition import task_of
from processor.shell.records import Headers, Produce, Record, size_of
from processor.wire.inputs import RejectCode, Rejected
from tests.shell.parts import NAMES, NOW_MS, TASKS, boost, intake, plug_in, record, withdrawal

HERE = task_of("s-1", TASKS)
ELSEWHERE = (HERE + 1) % TASKS
YEAR_MS = 365 * 86_400_000
EVENTS = ((plug_in(), NAMES.plug_in), (boost(), NAMES.user_boost), (withdrawal(), NAMES.consent_withdrawn))


def order(site: str = "s-1", event_id: str = "order", at_ms: int = NOW_MS) -> Record:
    """An order to erase, as the reroute topic hands it on."""
    written = order_to_erase(NAMES.reroute, TASKS, site, event_id, at_ms)
    partition = written.partition or 0
    return record(written.value, written.topic, partition, 12, key=written.key, headers=written.headers)


def look(site: str = "s-1", charger: str = "c-1", left_at_ms: int = 17) -> Record:
    """An order to look for a charger that left, as the reroute topic hands it on."""
    written = order_to_look(NAMES.reroute, TASKS, site, charger, left_at_ms, "order", NOW_MS)
    return record(written.value, written.topic, written.partition or 0, 12, key=written.key, headers=written.headers)


def after_hop(part: Intake, first: Record, now_ms: int = NOW_MS + 60_000) -> tuple[Produce, Record]:
    """The hop of a record, and the record as the reroute topic hands it on a minute later."""
    hop = part.hop(first, part.read(first, NOW_MS))
    assert hop.partition is not None
    landed = record(hop.value, hop.topic, hop.partition, 99, key=hop.key, headers=hop.headers, appended_ms=now_ms)
    return hop, landed


def test_a_record_where_its_site_belongs_needs_no_hop() -> None:
    """With as many partitions as tasks, keyed by the site, a record is processed where it was read."""
    arrival = intake().read(record(plug_in(), partition=HERE), NOW_MS)
    assert (arrival.is_here, arrival.task) == (True, HERE)
    assert isinstance(arrival.said, PlugIn)


def test_a_record_in_another_partition_takes_a_hop() -> None:
    """A record that was written elsewhere than its site belongs is sent to its task."""
    part = intake()
    elsewhere = record(plug_in(), partition=ELSEWHERE)
    arrival = part.read(elsewhere, NOW_MS)
    assert (arrival.is_here, arrival.task) == (False, HERE)
    hop = part.hop(elsewhere, arrival)
    assert (hop.topic, hop.partition, hop.key, hop.value) == (NAMES.reroute, HERE, b"s-1", elsewhere.value)


def test_a_topic_with_other_partitions_is_no_tasks_own() -> None:
    """Where the partition counts differ every record hops, even when the numbers agree by chance."""
    part = intake(plug_in=TASKS + 1)
    assert not part.read(record(plug_in(), partition=HERE), NOW_MS).is_here
    assert [part.serves_task(topic) for topic in (NAMES.plug_in, NAMES.user_boost, NAMES.reroute)] == [
        False,
        True,
        True,
    ]


def test_a_record_without_a_site_is_settled_where_it_is() -> None:
    """Bytes that tell no site belong to nobody, so they take no hop."""
    arrival = intake().read(record(b"no avro", partition=ELSEWHERE), NOW_MS)
    assert (arrival.is_here, arrival.task) == (True, None)
    assert isinstance(arrival.said, Rejected)


def test_what_is_wrong_but_has_a_site_goes_to_its_task() -> None:
    """A refused record of a known site hops too: its charger must be halted where its state is."""
    arrival = intake().read(record(plug_in(at_ms=1), partition=ELSEWHERE), NOW_MS)
    assert isinstance(arrival.said, Rejected)
    assert (arrival.is_here, arrival.task) == (False, HERE)


@pytest.mark.parametrize("appended_ms", [NOW_MS - 5_000, None])
def test_a_hop_changes_nothing_of_what_a_record_is(appended_ms: int | None) -> None:
    """After a hop the record is the same event, first read when it was, from where it stood, with its own key."""
    part = intake()
    headers = [("trace", b"abc"), ("empty", None)]
    for event, topic in EVENTS:
        first = record(event, topic, ELSEWHERE, 41, key=b"other", headers=[*headers], appended_ms=appended_ms)
        _, landed = after_hop(part, first)
        before, after = part.read(first, NOW_MS), part.read(landed, NOW_MS + 60_000)
        assert after.said == before.said
        assert (after.source, after.source) == (before.source, Source(topic, ELSEWHERE, 41))
        assert after.first_read_ms == before.first_read_ms == (NOW_MS if appended_ms is None else appended_ms)
        assert (after.key, after.headers) == (b"other", headers)
        assert (after.task, after.is_here) == (HERE, True)


def test_a_hop_keeps_the_lack_of_a_key() -> None:
    """A record without a key has none after its hop either."""
    part = intake()
    _, landed = after_hop(part, record(plug_in(), partition=ELSEWHERE, key=None))
    assert part.read(landed, NOW_MS).key is None


def test_a_hop_is_read_as_what_it_is_after_its_topic_was_renamed() -> None:
    """The hop names its kind, so a release that calls the input topics otherwise reads it no differently."""
    renamed = intake(replace(NAMES, plug_in="a", user_boost="b", consent_withdrawn="c"))
    for event, topic in EVENTS:
        first = record(event, topic, ELSEWHERE, 41)
        hop, landed = after_hop(intake(), first)
        after = renamed.read(landed, NOW_MS)
        assert (after.said, after.source) == (intake().read(first, NOW_MS).said, Source(topic, ELSEWHERE, 41))
        assert "reroute-kind" in dict(hop.headers)


def test_a_record_that_cannot_be_unpacked_is_a_dead_letter_where_it_stood() -> None:
    """Nothing of it is kept but its place and the reason, on an input as on the way between tasks."""
    for topic in (NAMES.plug_in, NAMES.reroute):
        part = intake()
        lost = structs.replace(record(None, topic, 1, 9, key=None), is_unpackable=True)
        arrival = part.read(lost, NOW_MS)
        assert isinstance(arrival.said, Rejected)
        assert (arrival.said.code, arrival.task, arrival.is_here) == (RejectCode.UNPACKABLE, None, True)
        letter = part.dead_letter(lost, arrival, arrival.said)
        assert (letter.key, letter.value) == (None, None)
        assert dict(letter.headers)["dlt-original-offset"] == b"9"
        assert b"too large once it is unpacked" in (dict(letter.headers)["dlt-error-reason"] or b"")


def test_a_hop_of_an_earlier_release_is_read_by_its_topic() -> None:
    """Hops that name no kind are on their way during an upgrade: their first topic tells it, as it did before."""
    for event, topic in EVENTS:
        first = record(event, topic, ELSEWHERE, 41)
        _, landed = after_hop(intake(), first)
        headers = [header for header in landed.headers if header[0] != "reroute-kind"]
        assert len(headers) == len(landed.headers) - 1
        assert intake().read(structs.replace(landed, headers=headers), NOW_MS).said == intake().read(first, NOW_MS).said


def test_a_hop_of_a_kind_that_is_not_known_is_refused() -> None:
    """A kind of a later release is a refused record, not a guess and not a crash."""
    for kind in (b"LATER", b"", b"\xff", "plug_in"):
        arrival = intake().read(record(plug_in(), NAMES.reroute, HERE, headers=[("reroute-kind", kind)]), NOW_MS)
        assert isinstance(arrival.said, Rejected)
        assert arrival.said.code is RejectCode.SCHEMA


def test_an_order_to_erase_begins_on_the_reroute_topic() -> None:
    """It is in its site's partition, and its place there is what its outcome will name."""
    arrival = intake().read(order(), NOW_MS)
    assert arrival.said == Erase("order", NOW_MS, Source(NAMES.reroute, HERE, 12), "s-1")
    assert event_of(arrival) == arrival.said
    assert (arrival.task, arrival.is_here, arrival.source) == (HERE, True, Source(NAMES.reroute, HERE, 12))


@pytest.mark.parametrize(("at_ms", "counted_ms"), [(NOW_MS + 1, NOW_MS), (NOW_MS - 9 * YEAR_MS,) * 2])
def test_an_orders_time_is_never_ahead(at_ms: int, counted_ms: int) -> None:
    """An order from a clock that runs ahead counts as the broker's time, and one of any age is obeyed."""
    said = intake().read(order(at_ms=at_ms), NOW_MS + 5_000).said
    assert isinstance(said, Erase)
    assert said.occurred_at_ms == counted_ms


def test_an_order_counts_from_our_clock_where_the_broker_keeps_no_time() -> None:
    """On a topic without append times the first reading is the latest that an order can be of."""
    said = intake().read(structs.replace(order(at_ms=NOW_MS + 60_000), appended_ms=None), NOW_MS).said
    assert isinstance(said, Erase)
    assert said.occurred_at_ms == NOW_MS


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", RejectCode.DECODE),
        (b"\xff\xfe", RejectCode.DECODE),
        (b"[]", RejectCode.DECODE),
        (b'{"event_id": "e", "occurred_at": 1763800020000}', RejectCode.DECODE),
        (b'{"event_id": "e", "occurred_at": "today", "site_id": "s-1"}', RejectCode.DECODE),
        (b'{"event_id": "e", "occurred_at": 1763800020000000000000, "site_id": "s-1"}', RejectCode.DECODE),
        (b'{"event_id": "\\ud800", "occurred_at": 1763800020000, "site_id": "s-1"}', RejectCode.DECODE),
        (b'{"event_id": "\xff", "occurred_at": 1763800020000, "site_id": "s-1"}', RejectCode.DECODE),
        (b'{"event_id": "e", "occurred_at": 1763800020, "site_id": "s-1"}', RejectCode.BAD_TIME),
        (b'{"event_id": "e", "occurred_at": 9223372036854775807, "site_id": "s-1"}', RejectCode.BAD_TIME),
        (b'{"event_id": "", "occurred_at": 1763800020000, "site_id": "s-1"}', RejectCode.BAD_ID),
        (b'{"event_id": "e", "occurred_at": 1763800020000, "site_id": "no/id"}', RejectCode.BAD_ID),
        (b" " * (ORDER_BYTES_MAX + 1), RejectCode.OVERSIZE),
        (None, RejectCode.NO_VALUE),
    ],
)
def test_an_order_that_breaks_the_contract_is_refused(value: bytes | None, code: RejectCode) -> None:
    """Whatever the bytes are, it is a refused record with a dead letter that is an order again when it is replayed."""
    part, bad = intake(), structs.replace(order(), value=value)
    arrival = part.read(bad, NOW_MS)
    assert isinstance(arrival.said, Rejected)
    assert (arrival.said.code, arrival.task, event_of(arrival)) == (code, HERE, None)
    assert arrival.said.dead_letter == (value is not None)
    letter = part.dead_letter(bad, arrival, arrival.said)
    assert (letter.key, letter.value or None, letter.headers[0]) == (bad.key, value or None, ("reroute-kind", b"ERASE"))


def test_an_order_in_another_sites_partition_is_refused() -> None:
    """Its site's state is not there: what is written there for it would never be found."""
    said = intake().read(structs.replace(order(), partition=ELSEWHERE), NOW_MS).said
    assert isinstance(said, Rejected)
    assert (said.code, said.event_id, said.site_id) == (RejectCode.BAD_ID, "order", "s-1")


def test_an_order_to_look_names_the_charger_and_when_it_left() -> None:
    """It begins where orders to erase do, and is no order to erase."""
    arrival = intake().read(look(), NOW_MS)
    source = Source(NAMES.reroute, HERE, 12)
    assert arrival.said == StillListed("order", NOW_MS, source, "s-1", "c-1", 17)
    assert event_of(arrival) == arrival.said
    assert (arrival.task, arrival.is_here, arrival.source) == (HERE, True, source)
    elsewhere = intake().read(structs.replace(look(), partition=ELSEWHERE), NOW_MS).said
    assert isinstance(elsewhere, Rejected)
    assert (elsewhere.code, elsewhere.site_id) == (RejectCode.BAD_ID, "s-1")


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (order().value, RejectCode.DECODE),
        ((look().value or b"").replace(b"17", b'"once"'), RejectCode.DECODE),
        (look(charger="no/id").value, RejectCode.BAD_ID),
        (look(charger="").value, RejectCode.BAD_ID),
        (look(site="no/id").value, RejectCode.BAD_ID),
    ],
)
def test_an_order_to_look_that_breaks_the_contract_is_refused(broken: bytes, code: RejectCode) -> None:
    """Without a charger or a time it is none, and ids are what they are everywhere."""
    said = intake().read(structs.replace(look(), value=broken), NOW_MS).said
    assert isinstance(said, Rejected)
    assert said.code is code


def test_an_order_comes_in_no_other_way() -> None:
    """On an input topic its header means nothing, with a hop or without, and nor does any other header of ours."""
    part = intake()
    forged = [("reroute-kind", b"ERASE"), ("reroute-key", b"forged"), ("reroute-topic", b"other")]
    for value in (plug_in(), order().value):
        first = record(value, partition=ELSEWHERE, offset=41, key=None, headers=[*forged])
        assert not isinstance(part.read(structs.replace(first, partition=HERE), NOW_MS).said, Erase)
    first = record(plug_in(), partition=ELSEWHERE, offset=41, key=None, headers=[*forged])
    hop, landed = after_hop(part, first)
    after = part.read(landed, NOW_MS)
    assert isinstance(after.said, PlugIn)
    assert (after.source, after.key, after.headers) == (Source(NAMES.plug_in, ELSEWHERE, 41), None, [])
    assert [value for name, value in hop.headers if name == "reroute-kind"] == [b"PLUG_IN"]


def test_a_stray_record_in_the_reroute_topic_is_refused_not_fatal() -> None:
    """Whatever somebody else writes there is a refused record of that partition."""
    strange = [("reroute-partition", b"x"), ("reroute-offset", b"-1"), ("reroute-topic", b"\xff")]
    endless: Headers = [("reroute-partition", b"9" * 19), ("reroute-offset", b"9" * 5000)]
    for headers in ([], strange, endless):
        arrival = intake().read(record(b"junk", NAMES.reroute, 2, 5, headers=[*headers]), NOW_MS)
        assert isinstance(arrival.said, Rejected)
        assert (arrival.source.partition, arrival.source.offset, arrival.task) == (2, 5, 2)


def test_the_brokers_time_counts_and_else_our_first_reading() -> None:
    """An event that runs ahead is set back to the broker's time, or to ours where the topic keeps none."""
    ahead = plug_in(at_ms=NOW_MS + 3_600_000)
    for appended_ms, counted_ms in ((NOW_MS - 5, NOW_MS - 5), (None, NOW_MS)):
        said = intake().read(record(ahead, partition=HERE, appended_ms=appended_ms), NOW_MS).said
        assert isinstance(said, PlugIn)
        assert said.occurred_at_ms == counted_ms


def test_a_dead_letter_is_the_record_untouched() -> None:
    """Key, value and headers are as they came, and our headers say where from and why, without quoting anything."""
    part = intake()
    bad = record(b"junk", NAMES.user_boost, 3, 12, key=b"key", headers=[("trace", b"abc")])
    arrival = part.read(bad, NOW_MS)
    assert isinstance(arrival.said, Rejected)
    letter = part.dead_letter(bad, arrival, arrival.said)
    headers = dict(letter.headers)
    assert (letter.topic, letter.partition, letter.key, letter.value) == (NAMES.dead_letter, None, b"key", b"junk")
    assert letter.headers[0] == ("trace", b"abc")
    assert headers["dlt-original-topic"] == NAMES.user_boost.encode()
    assert (headers["dlt-original-partition"], headers["dlt-original-offset"]) == (b"3", b"12")
    assert headers["dlt-group"] == b"a-group"
    assert headers["dlt-error-class"] == arrival.said.code.value.encode()
    assert not any(b"junk" in (text or b"") for _, text in letter.headers if isinstance(text, bytes))


def test_a_dead_letter_after_a_hop_is_the_first_record() -> None:
    """A refused record that hopped is dead-lettered as it stood in its own topic."""
    part = intake()
    first = record(plug_in(at_ms=1), partition=ELSEWHERE, offset=41, key=b"own", headers=[("trace", b"abc")])
    _, landed = after_hop(part, first)
    arrival = part.read(landed, NOW_MS)
    assert isinstance(arrival.said, Rejected)
    letter = part.dead_letter(landed, arrival, arrival.said)
    headers = dict(letter.headers)
    assert (letter.key, letter.value, headers["trace"]) == (b"own", first.value, b"abc")
    assert (headers["dlt-original-topic"], headers["dlt-original-offset"]) == (NAMES.plug_in.encode(), b"41")
    assert not any(name.startswith("reroute-") for name in headers)


@pytest.mark.parametrize("where", ["key", "value", "headers"])
def test_what_no_broker_would_take_is_cut(where: str) -> None:
    """A record as large as brokers let in is dead-lettered small, or it would be tried again for ever."""
    part = intake()
    huge = b"x" * (DEAD_LETTER_BYTES_MAX + 1)
    bad = record(
        huge if where == "value" else b"junk",
        key=huge if where == "key" else b"key",
        headers=[("h", huge)] if where == "headers" else [],
    )
    arrival = part.read(bad, NOW_MS)
    assert isinstance(arrival.said, Rejected)
    letter = part.dead_letter(bad, arrival, arrival.said)
    size = len(letter.key or b"") + len(letter.value or b"") + sum(len(text or b"") for _, text in letter.headers)
    assert size < 200 * 1024
    assert int(dict(letter.headers)["dlt-cut-from-bytes"] or 0) > DEAD_LETTER_BYTES_MAX
    assert (letter.value or b"") == (bad.value or b"")[: len(letter.value or b"")]


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (b"k", [("", None)] * (DEAD_LETTER_BYTES_MAX // 2)),
        (b"k", [("\N{EURO SIGN}" * (DEAD_LETTER_BYTES_MAX // 2), b"")]),
        (b"k", [("h", b"x" * RECORD_BYTES_MAX)]),
        (b"k" * RECORD_BYTES_MAX, []),
    ],
    ids=["many small headers", "a long name", "a long header", "a long key"],
)
def test_a_good_value_in_a_huge_record_takes_no_hop(key: bytes, headers: Headers) -> None:
    """It is refused where it is read: after a hop it could be too large for brokers, and be tried for ever."""
    part = intake()
    bad = record(plug_in(), partition=ELSEWHERE, key=key, headers=headers)
    arrival = part.read(bad, NOW_MS)
    assert isinstance(arrival.said, Rejected)
    assert (arrival.said.code, arrival.is_here) == (RejectCode.OVERSIZE, True)
    letter = part.dead_letter(bad, arrival, arrival.said)
    assert size_of(letter.key, letter.value, letter.headers) < DEAD_LETTER_BYTES_MAX + 2048


def test_a_wish_that_breaks_a_rule_reaches_the_core() -> None:
    """A refused action of a driver is told as one that could not be read; a refused withdrawal and junk are not."""
    part = intake()
    assert isinstance(event_of(part.read(record(plug_in(charger="c-1", at_ms=NOW_MS)), NOW_MS)), PlugIn)
    late = record(boost(at_ms=NOW_MS), NAMES.user_boost, HERE, appended_ms=NOW_MS + 40 * 86_400_000)
    too_old = event_of(part.read(late, NOW_MS))
    assert too_old is None or isinstance(too_old, Unreadable)
    assert event_of(part.read(record(b"junk"), NOW_MS)) is None
    assert event_of(part.read(record(None), NOW_MS)) is None


def test_what_a_record_is_read_as_is_known_before_it_is_read() -> None:
    """By its topic, after a hop by what the hop says, and an order or a word that is not known here as nothing."""
    part = intake()
    for event, topic in EVENTS:
        first = record(event, topic, ELSEWHERE)
        _, landed = after_hop(part, first)
        assert part.kind_of(first) is not None
        assert part.kind_of(landed) is part.kind_of(first)
        older = [header for header in landed.headers if header[0] != "reroute-kind"]
        assert part.kind_of(record(landed.value, landed.topic, headers=older)) is part.kind_of(first)
    assert part.kind_of(order()) is None
    assert part.kind_of(record(b"", NAMES.reroute, headers=[("reroute-kind", b"NEWS")])) is None
