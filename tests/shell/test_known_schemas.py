"""Which schemas may be read: what is asked, how often, and what an answer or none means."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from processor.shell import known_schemas
from processor.shell.known_schemas import UNKNOWN_MAX, UNKNOWN_SECONDS, WANTED_MAX, KnownSchemas
from processor.shell.metrics import Metrics
from processor.shell.schema_files import schema_texts
from tests.kafka.rig import samples
from tests.shell.parts import HandClock, until
from tests.shell.registry_double import PLUGS, Versions, own_codec

pytestmark = pytest.mark.anyio
NEWER = schema_texts()["ev.plug-in.v1"].replace('"PlugIn",', '"PlugIn", "aliases": ["Plugged"],')


class Bench:
    """A list of known schemas before a registry in memory, asked as often as it likes."""

    def __init__(self, every_seconds: float = 0.001, answer_seconds: float = 30) -> None:
        self.registry, self.clock, self.metrics = Versions(), HandClock(), Metrics()
        self.known = KnownSchemas(self.registry, own_codec(), self.clock, self.metrics, every_seconds, answer_seconds)
        self.answers = 0
        self.known.on_answer = self.count

    def count(self) -> None:
        self.answers += 1

    def want(self, *ids: int) -> None:
        for schema_id in ids:
            self.known.want((PLUGS, schema_id))

    def settled(self, schema_id: int) -> bool:
        return self.known.is_settled((PLUGS, schema_id))

    @property
    def questions(self) -> dict[str, float]:
        return samples(self.metrics.exposition().decode(), "axle_processor_schema_registry_questions_total")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """One that asks, until the test is over."""
    bench = Bench()
    running = asyncio.create_task(bench.known.run())
    yield bench
    running.cancel()
    bench.registry.may_answer.set()
    bench.known.close()
    await until(lambda: bench.registry.is_closed)


async def test_nothing_is_asked_of_what_is_known(bench: Bench) -> None:
    """The versions of the start are settled, and an idle list asks nothing."""
    assert bench.settled(next(iter(own_ids())))
    await asyncio.sleep(0.05)
    assert not bench.registry.asked


def own_ids() -> list[int]:
    return [version[0] for version in Versions().have[PLUGS].values()]


async def test_a_new_version_is_learnt(bench: Bench) -> None:
    """An id that is a version by now is known with one question, and no version is fetched twice."""
    bench.registry.add(PLUGS, 70, NEWER)
    bench.want(70)
    await until(lambda: bench.settled(70))
    assert bench.known.codec.knows(PLUGS, 70)
    bench.registry.add(PLUGS, 71, NEWER)
    bench.want(71)
    await until(lambda: bench.settled(71))
    assert bench.registry.asked == {PLUGS: 2}
    assert bench.registry.fetched == [(PLUGS, 1), (PLUGS, 2), (PLUGS, 3)]
    assert bench.answers == 2


async def test_an_id_that_the_registry_lacks_is_not_asked_for_again(bench: Bench) -> None:
    """A foreign id is settled as such for a while; after that it may have become a version."""
    bench.want(666)
    await until(lambda: bench.settled(666))
    assert not bench.known.codec.knows(PLUGS, 666)
    bench.clock.turn(UNKNOWN_SECONDS - 1)
    assert bench.settled(666)
    bench.clock.turn(2)
    assert not bench.settled(666)
    bench.registry.add(PLUGS, 666, NEWER)
    bench.want(666)
    await until(lambda: bench.settled(666))
    assert bench.known.codec.knows(PLUGS, 666)


async def test_a_storm_of_foreign_ids_is_one_question(bench: Bench) -> None:
    """All ids that wait share a question, those beyond the limit the next one, and what is remembered is bounded."""
    bench.registry.may_answer.clear()
    bench.want(1000)
    await until(lambda: bench.registry.asked[PLUGS] == 1)
    bench.want(*range(1000, 1000 + 2 * WANTED_MAX))
    bench.registry.may_answer.set()
    await until(lambda: bench.settled(1000 + WANTED_MAX - 1))
    await until(lambda: bench.answers == 2)
    assert bench.registry.asked == {PLUGS: 2}
    assert not bench.settled(1000 + WANTED_MAX)
    for first in range(10_000, 10_000 + UNKNOWN_MAX, WANTED_MAX):
        bench.want(*range(first, first + WANTED_MAX))
        await until(lambda last=first + WANTED_MAX - 1: bench.settled(last))  # type: ignore[misc]
    assert not bench.settled(1000)
    assert bench.settled(10_000)
    assert bench.registry.fetched == [(PLUGS, 1)]


async def test_questions_have_a_pause_between_them() -> None:
    """However many foreign ids come, a subject is asked for at most once in the pause."""
    assert known_schemas.ASK_EVERY_SECONDS >= 1
    bench = Bench(every_seconds=0.2)
    running = asyncio.create_task(bench.known.run())
    began = asyncio.get_running_loop().time()
    for schema_id in range(1000, 1003):
        bench.want(schema_id)
        await until(lambda asked=schema_id: bench.settled(asked))  # type: ignore[misc]
    assert asyncio.get_running_loop().time() - began >= 0.4
    assert bench.registry.asked == {PLUGS: 3}
    running.cancel()
    bench.known.close()


async def test_without_an_answer_the_question_stays(bench: Bench) -> None:
    """A registry that is down settles nothing and is asked again until it answers; meanwhile the trouble is told."""
    bench.registry.is_down = True
    bench.registry.add(PLUGS, 70, NEWER)
    bench.want(70, 666)
    await until(lambda: bench.registry.asked[PLUGS] >= 3)
    assert bench.known.trouble == "no answer from http://registry"
    assert (bench.settled(70), bench.settled(666), bench.answers) == (False, False, 0)
    bench.registry.is_down = False
    await until(lambda: bench.settled(70) and bench.settled(666), 20)
    assert bench.known.codec.knows(PLUGS, 70)
    assert bench.known.trouble is None
    assert bench.questions['{outcome="failed"}'] >= 3
    assert bench.questions['{outcome="answered"}'] == 1


async def test_an_answer_without_an_end_is_none() -> None:
    """A registry that never finishes is told as trouble, and what it says in the end counts with a later question."""
    bench = Bench(answer_seconds=0.05)
    running = asyncio.create_task(bench.known.run())
    bench.registry.may_answer.clear()
    bench.want(666)
    await until(lambda: bench.known.trouble)
    assert bench.known.trouble == "no whole answer within 0.05 s"
    assert not bench.settled(666)
    bench.registry.may_answer.set()
    await until(lambda: bench.settled(666), 20)
    assert bench.known.trouble is None
    running.cancel()
    bench.known.close()


async def test_a_registry_that_lost_a_subject_is_not_believed(bench: Bench) -> None:
    """Who has nothing of a subject that had versions is somebody else, and no reason for dead letters."""
    versions = bench.registry.have.pop(PLUGS)
    bench.want(666)
    await until(lambda: bench.known.trouble)
    assert "it has lost ev.plug-in.v1-value" in (bench.known.trouble or "")
    assert not bench.settled(666)
    bench.registry.have[PLUGS] = versions
    await until(lambda: bench.settled(666), 20)


async def test_a_version_that_cannot_be_used_stops_nothing(bench: Bench) -> None:
    """A schema that is none, or has an id without room, is passed over; the others are learnt."""
    bench.registry.add(PLUGS, 70, "{")
    bench.registry.add(PLUGS, 2**40, NEWER)
    bench.registry.add(PLUGS, 71, NEWER)
    bench.want(70, 71)
    await until(lambda: bench.settled(70) and bench.settled(71))
    assert bench.known.codec.knows(PLUGS, 70)


async def test_nothing_of_a_question_runs_in_the_event_loop(bench: Bench) -> None:
    """A registry that takes its time holds up nobody."""
    bench.registry.may_answer.clear()
    bench.want(666)
    await until(lambda: bench.registry.asked[PLUGS] == 1)
    turns = 0
    while turns < 100:
        await asyncio.sleep(0)
        turns += 1
    assert not bench.settled(666)
