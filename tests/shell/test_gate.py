"""The gate before a round: who waits, who does not, and how they go on at the very record that asked."""

import asyncio
from collections.abc import AsyncIterator, Collection
from concurrent.futures import Future
from typing import Any

import pytest

from processor.core.events import Erase, Input
from processor.shell.gate import Gate
from processor.shell.intake import Intake
from processor.shell.known_schemas import KnownSchemas
from processor.shell.leases import Lease
from processor.shell.metrics import Metrics
from processor.shell.records import Partition
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec
from processor.wire.inputs import InputLimits
from processor.wire.registered import RegistryCodec
from tests.shell.parts import NAMES, NOW_MS, TASKS, HandClock, intake, plug_in, record, until
from tests.shell.registry_double import OWN, PLUGS, SUBJECTS, Versions, own_codec
from tests.shell.test_intake import ELSEWHERE, HERE, after_hop, order

pytestmark = pytest.mark.anyio
PLACE = (NAMES.plug_in, 0)
OTHER = (NAMES.plug_in, 1)
NEWER = schema_texts()["ev.plug-in.v1"].replace('"PlugIn",', '"PlugIn", "aliases": ["Plugged"],')
KNOWN = own_codec().encode_input(plug_in())
FOREIGN = b"\0\0\0\0\x63" + KNOWN[5:]


class Poll:
    """Stands where the poll thread stands: what it was told, done at once."""

    def __init__(self) -> None:
        self.held: list[Partition] = []
        self.began: list[dict[Partition, int]] = []
        self.failure: Exception | None = None

    def hold(self, partition: Partition, lease: Lease) -> "Future[None]":
        assert lease.is_open
        self.held.append(partition)
        return self._done(None)

    def begin(self, offsets: dict[Partition, int], leases: Collection[Lease]) -> "Future[bool]":
        assert all(lease.is_open for lease in leases)
        self.began.append(offsets)
        return self._done(result=True)

    def _done(self, result: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.failure:
            future.set_exception(self.failure)
        else:
            future.set_result(result)
        return future


class Bench:
    """A gate before a registry in memory, and a poll thread that only listens."""

    def __init__(self) -> None:
        self.registry, self.poll = Versions(), Poll()
        self.known = KnownSchemas(self.registry, own_codec(), HandClock(), Metrics(), 0.001)
        self.failures: list[Exception] = []
        poll: Any = self.poll
        self.gate = Gate(intake().kind_of, self.known, poll, self.failures.append)
        self.leases = {place: Lease(*place) for place in (PLACE, OTHER)}

    def admits(self, value: bytes | None, offset: int, place: Partition = PLACE) -> bool:
        return self.gate.admits(record(value, *place, offset, lease=self.leases[place]))


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    running = asyncio.create_task(bench.known.run())
    yield bench
    running.cancel()
    bench.known.close()


async def test_a_partition_waits_and_the_others_go_on(bench: Bench) -> None:
    """What nobody told us of holds its partition at its offset, and no other; records behind it change nothing."""
    bench.registry.is_down = True
    assert bench.admits(KNOWN, 5)
    assert not bench.admits(FOREIGN, 6)
    assert not bench.admits(KNOWN, 7)
    assert not bench.admits(FOREIGN, 8)
    assert bench.admits(KNOWN, 5, OTHER)
    assert (bench.gate.held, bench.poll.held) == ([PLACE], [PLACE])
    await until(lambda: bench.gate.trouble)
    assert bench.gate.trouble == (
        "ev.plug-in.v1 [0] stands still until the schema registry can be asked: no answer from http://registry"
    )
    assert bench.poll.began == []


@pytest.mark.parametrize("is_registered", [True, False])
async def test_it_goes_on_at_the_record_that_asked(bench: Bench, *, is_registered: bool) -> None:
    """After the answer, be it yes or no, what was read before is dropped until that record comes again."""
    bench.registry.is_down = True
    assert not bench.admits(FOREIGN, 6)
    await until(lambda: bench.known.trouble)
    if is_registered:
        bench.registry.add(PLUGS, 0x63, NEWER)
    bench.registry.is_down = False
    await until(lambda: bench.poll.began, 20)
    assert bench.poll.began == [{PLACE: 6}]
    assert (bench.gate.held, bench.gate.trouble) == ([], None)
    assert not bench.admits(KNOWN, 7), "a record from before"
    assert bench.admits(FOREIGN, 6)
    assert bench.admits(KNOWN, 7)
    assert bench.known.codec.knows(PLUGS, 0x63) == is_registered


async def test_ids_behind_a_held_record_are_asked_for_with_it(bench: Bench) -> None:
    """A partition full of foreign ids costs a question for what was read, not one for each record."""
    bench.registry.may_answer.clear()
    assert not bench.admits(FOREIGN, 6)
    for number in range(200):
        assert not bench.admits(b"\0" + (1000 + number).to_bytes(4, "big"), 7 + number)
    bench.registry.may_answer.set()
    await until(lambda: bench.known.is_settled((PLUGS, 1199)))
    assert bench.admits(FOREIGN, 6)
    assert all(bench.admits(b"\0" + (1000 + number).to_bytes(4, "big"), 7 + number) for number in range(200))
    assert bench.registry.asked[PLUGS] <= 2


async def test_a_partition_that_comes_back_is_a_new_one(bench: Bench) -> None:
    """A partition that went and came back is read from where it was committed, whatever was held before."""
    bench.registry.is_down = True
    assert not bench.admits(FOREIGN, 6)
    bench.leases[PLACE].is_open = False
    assert (bench.gate.held, bench.gate.trouble) == ([], None)
    bench.leases[PLACE] = Lease(*PLACE)
    assert bench.admits(KNOWN, 5)
    assert not bench.admits(FOREIGN, 6)
    assert bench.poll.held == [PLACE, PLACE]
    bench.registry.is_down = False
    await until(lambda: bench.poll.began, 20)
    assert bench.poll.began == [{PLACE: 6}]


async def test_what_went_meanwhile_is_not_begun(bench: Bench) -> None:
    """An answer for a partition that is somebody else's by now moves nothing."""
    bench.registry.is_down = True
    assert not bench.admits(FOREIGN, 6)
    bench.leases[PLACE].is_open = False
    bench.registry.is_down = False
    await until(lambda: bench.known.is_settled((PLUGS, 0x63)), 20)
    assert bench.poll.began == []


async def test_a_partition_that_cannot_go_on_is_told(bench: Bench) -> None:
    """When the poll thread fails, nobody waits in silence."""
    bench.poll.failure = ValueError("no seek")
    assert not bench.admits(FOREIGN, 6)
    assert bench.failures == [bench.poll.failure]


async def test_what_is_no_avro_or_has_no_id_waits_for_nobody(bench: Bench) -> None:
    """Orders, records without a value, junk and single-object encoding pass at once."""
    bench.registry.is_down = True
    single = Codec(schema_texts()).encode_input(plug_in())
    for value in (None, b"", b"junk", single, b"\0\0"):
        assert bench.admits(value, 5)
    assert bench.gate.admits(order())


async def test_a_record_after_its_hop_is_held_as_what_it_is(bench: Bench) -> None:
    """On the reroute topic the headers say what a record is, and so of which subject its id must be."""
    part = intake()
    _, landed = after_hop(part, record(plug_in(), partition=ELSEWHERE))
    assert part.kind_of(landed) is Input.PLUG_IN
    lease = Lease(NAMES.reroute, HERE)
    assert bench.gate.admits(record(KNOWN, NAMES.reroute, HERE, 8, headers=landed.headers, lease=lease))
    assert not bench.gate.admits(record(FOREIGN, NAMES.reroute, HERE, 9, headers=landed.headers, lease=lease))
    assert bench.gate.held == [(NAMES.reroute, HERE)]


@pytest.mark.parametrize("are_registered", [True, False])
def test_an_order_is_read_with_a_registry_as_without(*, are_registered: bool) -> None:
    """An order needs no schema of its own, whether or not the withdrawals' is registered."""
    codec = own_codec() if are_registered else RegistryCodec(schema_texts(), SUBJECTS, {})
    part = Intake(NAMES, {NAMES.plug_in: TASKS}, TASKS, codec, InputLimits(), "a-group")
    assert isinstance(part.read(order(), NOW_MS).said, Erase)


def test_our_own_schemas_have_an_id_each() -> None:
    """The registry in memory has all six subjects."""
    assert len({number for number, _ in OWN.values()}) == 6
