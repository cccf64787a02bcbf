"""`erase` as an operator meets it: what is written, what is said of what follows, and how it ends."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass

import pytest
from typer.testing import CliRunner

from processor.cli import app
from processor.cli.erase import erase_verb
from processor.core.events import Erase, Source
from processor.core.outputs import ConsentState, EnrolmentStatus, Outcome, Result
from processor.demo.kafka import Broker
from processor.settings import PREFIX
from processor.shell.intake import read_order
from processor.shell.partition import task_of
from processor.shell.topics import TopicNames, kept_until, wanted_topics
from processor.wire.inputs import InputLimits
from tests.broker import prefixed, produce, read_committed
from tests.cli.parts import NOBODY, environment
from tests.kafka.rig import CODEC, now_ms

SITE = "home-1"
DAY_MS = 86_400_000
HAS_CONSENT, WITHDREW = ConsentState.GIVEN, ConsentState.WITHDRAWN


@dataclass(frozen=True, slots=True)
class End:
    """How a processor ends an order: its outcome and the statuses that come with it, None for a tombstone."""

    result: Result
    statuses: tuple[ConsentState | None, ...]
    code: int
    says: str
    site_is_known: bool = True


@pytest.fixture
def operator(broker: Broker, topics: TopicNames, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a processor that is not at work."""
    for name, value in environment(broker.bootstrap_servers, topics).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("site", ["", "a/b", "..", "x" * 65, "h\u00f6me", "home 1"])
def test_a_wrong_id_is_refused_before_anything_is_sent(site: str) -> None:
    """Exit code 2 and one line that says what an id may be, without a look at any broker."""
    ended = CliRunner().invoke(app, ["erase", site], env=environment(NOBODY))
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert line.startswith("usage: SITE: site_id is not 1 to 64 of ")


@pytest.mark.parametrize("timeout", ["0", "nan", "soon"])
def test_a_wait_must_have_an_end(timeout: str) -> None:
    """A time-out that is none is a matter of usage."""
    assert CliRunner().invoke(app, ["erase", SITE, "--timeout-seconds", timeout]).exit_code == 2


def test_a_broker_that_is_away_is_one_line() -> None:
    """Without a broker: exit code 4 within 5 s, and one line that names the brokers and the setting."""
    began = time.monotonic()
    ended = CliRunner().invoke(app, ["erase", SITE], env=environment(NOBODY))
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (4, "")
    assert line.startswith("kafka: ")
    assert NOBODY in line
    assert f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS" in line
    assert time.monotonic() - began < 5


def test_a_wrong_setting_is_one_line() -> None:
    """Exit code 3, and the setting by name."""
    ended = CliRunner().invoke(app, ["erase", SITE], env={f"{PREFIX}KAFKA__GROUPID": "g"})
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert f"{PREFIX}KAFKA__GROUP_ID" in ended.stderr


def test_missing_topics_are_named(broker: Broker) -> None:
    """Exit code 3, each missing topic by name, and the command that helps; nothing is created."""
    names = prefixed(TopicNames(), "nowhere.")
    began = time.monotonic()
    ended = CliRunner().invoke(app, ["erase", SITE], env=environment(broker.bootstrap_servers, names))
    (line,) = ended.stderr.splitlines()
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert [name for name in astuple(names) if name not in line] == []
    assert "axle-processor topics apply" in line
    assert time.monotonic() - began < 5


def test_an_order_stands_in_the_partition_of_its_site(broker: Broker, topics: TopicNames) -> None:
    """Without a wait the order is written, acknowledged and named; whoever reads it finds one that is valid."""
    env = environment(broker.bootstrap_servers, topics)
    ended = CliRunner().invoke(app, ["erase", SITE, "--no-wait", "--json"], env=env)
    (order,) = read_committed(broker.bootstrap_servers, topics.reroute, 1)
    told = json.loads(ended.stdout)
    read = read_order(order.value(), Source("", 0, 0), now_ms(), CODEC, InputLimits())
    assert (ended.exit_code, told["outcome"], told["forgotten"], told["topics"]) == (0, None, False, [])
    assert isinstance(read, Erase)
    assert (read.site_id, read.event_id, told["site_id"]) == (SITE, told["event_id"], SITE)
    assert abs(read.occurred_at_ms - now_ms()) < 60_000
    assert (order.partition(), order.key()) == (task_of(SITE, 2), SITE.encode())
    assert order.headers() == [("reroute-kind", b"ERASE")]


@pytest.mark.usefixtures("operator")
def test_an_order_that_nobody_takes_is_told_apart(topics: TopicNames, capsys: pytest.CaptureFixture[str]) -> None:
    """Where no processor runs the operator hears that, how long it was waited, and where the order waits."""
    assert erase_verb(SITE, as_json=False, timeout_seconds=1, wait=True) == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{SITE}: no processor has taken the order in 1 s; it waits in {topics.reroute} ")
    assert said.err.startswith("ordered as erase.")


def followed_by(broker: Broker, topics: TopicNames, end: End, timeout_seconds: float = 60) -> tuple[int, str]:
    """The exit code and the event id of an order that a stand-in for the processor answers with that end.

    Before it come records that prove nothing: a status of a moment ago, and the outcome of another record.
    """
    servers = broker.bootstrap_servers
    with ThreadPoolExecutor(1) as thread:
        verb = thread.submit(erase_verb, SITE, as_json=False, timeout_seconds=timeout_seconds, wait=True)
        (order,) = read_committed(servers, topics.reroute, 1, 30)
        source = Source(topics.reroute, order.partition() or 0, order.offset() or 0)
        event_id = json.loads(order.value() or b"")["event_id"]
        ids = (event_id, SITE) if end.site_is_known else (None, None)
        outcomes = [
            (SITE, Outcome("w-1", Source("elsewhere", 0, 0), SITE, None, Result.OFFBOARDED, 999)),
            (
                ids[1] or f"{source.topic}-{source.partition}-{source.offset}",
                Outcome(ids[0], source, ids[1], None, end.result, 1000),
            ),
        ]
        before = EnrolmentStatus(SITE, HAS_CONSENT, "axle-site", (), 999)
        produce(servers, topics.enrolment_status, [(SITE, CODEC.encode(before), None)])
        produce(servers, topics.outcomes, [(key, CODEC.encode(outcome), None) for key, outcome in outcomes])
        statuses = [each and CODEC.encode(EnrolmentStatus(SITE, each, None, (), 1000)) for each in end.statuses]
        produce(servers, topics.enrolment_status, [(SITE, status or None, None) for status in statuses])
        return verb.result(60), event_id


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    "end",
    [
        End(Result.OFFBOARDED, (WITHDREW, None), 0, "offboarded at Axle, forgotten here"),
        End(Result.NOTHING_TO_OFFBOARD, (None,), 0, "nothing was at Axle, forgotten here"),
        End(Result.COALESCED, (WITHDREW, None), 0, "forgotten here"),
        End(
            Result.OFFBOARDED,
            (HAS_CONSENT,),
            1,
            "a newer consent stands: what was at Axle has left it, nothing was forgotten here",
        ),
        End(Result.STALE, (), 1, "a newer consent stands: nothing was erased"),
        End(Result.INVALID, (), 1, "the order was refused; see ", site_is_known=False),
    ],
    ids=lambda end: end.result if isinstance(end, End) else "",
)
def test_each_end_has_its_sentence(
    broker: Broker, topics: TopicNames, capsys: pytest.CaptureFixture[str], end: End
) -> None:
    """What is said follows from what is committed: the order's own outcome, and what was told of the site with it."""
    code, event_id = followed_by(broker, topics, end)
    told = capsys.readouterr()
    first, *more = told.out.splitlines()
    assert code == end.code
    assert first.startswith(f"{SITE}: {end.says}")
    assert told.err.startswith(f"ordered as {event_id};")
    assert [line.split()[0] for line in more[1:]] == (list(astuple(topics)) if code == 0 else [])


@pytest.mark.usefixtures("operator")
def test_a_household_that_is_still_looked_for_is_still_owed(
    broker: Broker, topics: TopicNames, capsys: pytest.CaptureFixture[str]
) -> None:
    """An outcome without a tombstone is not the end, and the operator hears every few seconds what is missing."""
    code, _ = followed_by(broker, topics, End(Result.OFFBOARDED, (WITHDREW,), 1, ""), timeout_seconds=6)
    told = capsys.readouterr()
    owed = "still owed after 6 s: Axle has not confirmed; the processor goes on by itself"
    assert (code, told.out) == (1, f"{SITE}: {owed}\n")
    assert told.err.splitlines()[1] == "5 s: Axle has not confirmed yet"


@pytest.mark.parametrize(
    ("config", "has_tombstone", "days", "id_days"),
    [
        ({"cleanup.policy": "delete", "retention.ms": f"{3 * DAY_MS}"}, False, 4, None),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, False, None, None),
        ({"cleanup.policy": "compact,delete", "retention.ms": f"{3 * DAY_MS}"}, False, 4, None),
        ({"cleanup.policy": "compact", "retention.ms": f"{3 * DAY_MS}"}, False, None, None),
        ({"cleanup.policy": "compact", "max.compaction.lag.ms": f"{DAY_MS}"}, True, 1, 9),
        ({"cleanup.policy": "compact"}, True, None, None),
        ({}, True, None, None),
    ],
)
def test_how_long_a_topic_keeps_follows_from_its_settings(
    config: dict[str, str], *, has_tombstone: bool, days: int | None, id_days: int | None
) -> None:
    """By age with the segment, by compaction where a tombstone stands; and where nothing bounds it, that is said."""
    defaults = {
        "segment.ms": f"{DAY_MS}",
        "delete.retention.ms": f"{7 * DAY_MS}",
        "max.compaction.lag.ms": f"{2**63 - 1}",
    }
    kept = kept_until("t", {**defaults, **config}, 0, has_tombstone=has_tombstone)
    at = [None if day is None else day * DAY_MS for day in (days, id_days)]
    assert [kept.until_ms, kept.id_until_ms] == at
    assert kept.why


def test_our_own_topics_are_bounded() -> None:
    """As the product makes them, no topic keeps a household's records for ever."""
    defaults = {"segment.ms": f"{7 * DAY_MS}", "max.compaction.lag.ms": f"{2**63 - 1}"}
    names = TopicNames()
    kept = [
        kept_until(
            spec.name, {**defaults, **spec.config}, 0, has_tombstone=spec.name in {names.state, names.enrolment_status}
        )
        for spec in wanted_topics(names)
    ]
    assert [each.topic for each in kept if each.until_ms is None] == []
