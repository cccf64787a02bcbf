"""Fault rules: which calls they pick, what they refuse to be, and what each fault does to a real client."""

import gzip
import zlib
from datetime import datetime
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest

from processor.demo.axle_faults import FaultPlan, FaultsError, Subject, read_rules
from tests.demo.axle_rig import NIGHT, onboarding, pairs, question, running, schedule_path, until

ASK = Subject("schedule", "POST", "charger-001", "1234567890123")


def fired(plan: FaultPlan, calls: int, subject: Subject = ASK) -> list[str | None]:
    """What the plan makes of so many equal calls."""
    return [plan.choose(subject).name for _ in range(calls)]


def test_a_rule_fires_after_some_calls_and_so_many_times() -> None:
    """`after_calls` leaves the first calls alone, and `count` ends it."""
    plan = FaultPlan(read_rules([{"endpoint": "schedule", "fault": "hang", "after_calls": 1, "count": 2}]))
    assert fired(plan, 5) == [None, "hang", "hang", None, None]


def test_a_share_is_kept_and_repeats() -> None:
    """About the given share of calls is hit, and the same ones in each run."""
    rules = read_rules([{"endpoint": "*", "fault": "503", "share": 0.3}])
    first, again = fired(FaultPlan(rules, 5), 1000), fired(FaultPlan(rules, 5), 1000)
    assert first == again
    assert 250 < first.count("503") < 350
    assert first != fired(FaultPlan(rules, 6), 1000)


@pytest.mark.parametrize(
    ("row", "hits"),
    [
        ({"endpoint": "*"}, True),
        ({"endpoint": "schedule"}, True),
        ({"endpoint": "onboard"}, False),
        ({"endpoint": "*", "method": "POST"}, True),
        ({"endpoint": "*", "method": "GET"}, False),
        ({"endpoint": "*", "external_id": "charger-001"}, True),
        ({"endpoint": "*", "external_id": "charger-002"}, False),
        ({"endpoint": "*", "mpan": "1234567890123"}, True),
        ({"endpoint": "*", "mpan": "2"}, False),
    ],
)
def test_a_rule_hits_only_what_it_names(row: dict[str, Any], hits: bool) -> None:  # noqa: FBT001  parametrized
    """Endpoint, method, charger and MPAN each narrow a rule down."""
    assert fired(FaultPlan(read_rules([row | {"fault": "hang"}])), 1) == ["hang" if hits else None]


def test_slowness_adds_to_the_next_fault() -> None:
    """A slow rule takes its time, with its jitter, and lets later rules decide; the first of those wins."""
    rows = [
        {"endpoint": "*", "fault": "slow", "latency_ms": 100, "jitter_ms": 50},
        {"endpoint": "*", "fault": "503"},
        {"endpoint": "*", "fault": "hang"},
    ]
    choices = [FaultPlan(read_rules(rows), seed).choose(ASK) for seed in range(20)]
    assert {choice.name for choice in choices} == {"slow+503"}
    assert all(100 <= choice.latency_ms < 150 for choice in choices)
    assert len({choice.latency_ms for choice in choices}) > 10


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"endpoint": "*"}, "must be a JSON list"),
        (["hang"], "rule 1 must be a JSON object"),
        (
            [{"endpoint": "*", "fault": "hang"}, {"endpoint": "*", "fault": "explode"}],
            "rule 2 names the fault 'explode'",
        ),
        ([{"endpoint": "lookup", "fault": "hang"}], "rule 1 names the endpoint 'lookup'"),
        ([{"endpoint": ["*"], "fault": "hang"}], "rule 1: endpoint must be a text"),
        ([{"endpoint": "*", "fault": "hang", "method": "PATCH"}], "rule 1 names the method 'PATCH'"),
        ([{"endpoint": "*", "fault": "hang", "latency_ms": 5}], "rule 1 has ['latency_ms']"),
        ([{"endpoint": "*", "fault": "slow", "latency_ms": -1}], "rule 1: latency_ms must be a number"),
        ([{"endpoint": "*", "fault": "hang", "share": 2}], "rule 1: share must be a number"),
        ([{"endpoint": "*", "fault": "hang", "share": True}], "rule 1: share must be a number"),
        ([{"endpoint": "site", "fault": "naive-times"}], "is for the endpoint schedule, not site"),
        ([{"answer": {"pauses": [["2025-06-28T01:00:00", "2025-06-28T02:00:00Z"]]}}], "with a time zone"),
        ([{"answer": {"gaps": []}}], "answer must be"),
        ([{"endpoint": "*", "fault": "hang"}] * 1001, "at most 1000"),
    ],
)
def test_a_wrong_rule_is_refused_in_a_sentence(rows: object, words: str) -> None:
    """Rules that cannot be meant are refused with the number of the rule and what is wrong with it."""
    with pytest.raises(FaultsError) as caught:
        read_rules(rows)
    assert words in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fault", ["400", "401", "403", "404", "409", "422", "422-list", "429", "500", "502", "503", "504"]
)
async def test_a_status_fault_answers_instead_of_axle(fault: str) -> None:
    """Status faults answer a JSON detail and leave Axle's world as it was."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "onboard", "fault": fault}])
        answer = await rig.http.post("/entities/site/onboard-site-and-asset", json=onboarding())
        assert answer.status_code == int(fault[:3])
        assert isinstance(answer.json()["detail"], list if fault == "422-list" else str)
        assert answer.headers.get("retry-after") == ("1" if fault == "429" else None)
        assert not rig.sim.world.sites
        assert [(call["status"], call["fault"], call["effect"]) for call in rig.sim.calls][1:] == [
            (int(fault[:3]), fault, False)
        ]


@pytest.mark.anyio
async def test_a_status_fault_says_what_it_is_told_to() -> None:
    """Detail, Retry-After and the target of a redirect can be set."""
    async with running() as rig:
        rig.sim.set_faults(
            [
                {"endpoint": "site", "fault": "503", "retry_after_seconds": 7, "detail": "asleep"},
                {"endpoint": "asset", "fault": "redirect", "location": "/away"},
            ]
        )
        answer = await rig.http.get("/entities/site/x")
        assert (answer.headers["retry-after"], answer.json()) == ("7", {"detail": "asleep"})
        answer = await rig.http.get("/entities/asset")
        assert (answer.status_code, answer.headers["location"]) == (307, "/away")


@pytest.mark.anyio
async def test_the_guide_answer_can_be_forced() -> None:
    """A rule with pauses answers exactly these, so that the guide's example can be replayed."""
    async with running() as rig:
        _, asset_id = await rig.onboard()
        pause = ["2025-06-28T01:00:00+00:00", "2025-06-28T02:00:00+00:00"]
        rig.sim.set_faults([{"answer": {"pauses": [pause]}}])
        _, answer = await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        assert pairs(answer) == [
            ("2025-06-27T22:00:00+00:00", pause[0]),
            (pause[1], "2025-06-28T06:00:00+00:00"),
        ]
        rig.sim.set_faults([{"answer": {"blocks": []}}])
        assert pairs((await rig.call("POST", schedule_path(asset_id), question(*NIGHT)))[1]) == []


@pytest.mark.anyio
async def test_no_opportunity_gives_the_schedule_back() -> None:
    """Without a pause the answer is the schedule that was sent, written in UTC."""
    async with running(pause_share=0.0) as rig:
        _, asset_id = await rig.onboard()
        _, answer = await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        assert pairs(answer) == [("2025-06-27T22:00:00+00:00", "2025-06-28T06:00:00+00:00")]


@pytest.mark.anyio
async def test_a_non_subset_answer_adds_charging() -> None:
    """The non-subset fault answers charging time that nobody asked for."""
    async with running() as rig:
        _, asset_id = await rig.onboard()
        rig.sim.set_faults([{"fault": "non-subset", "minutes": 15}])
        _, answer = await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        assert max(end for _, end in pairs(answer)) == "2025-06-28T06:15:00+00:00"


@pytest.mark.anyio
async def test_a_naive_answer_has_no_zones() -> None:
    """The naive-times fault answers instants without a time zone."""
    async with running() as rig:
        _, asset_id = await rig.onboard()
        rig.sim.set_faults([{"endpoint": "*", "fault": "naive-times"}])
        _, answer = await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        assert all(datetime.fromisoformat(text).tzinfo is None for block in pairs(answer) for text in block)


@pytest.mark.anyio
async def test_a_slow_answer_takes_its_time() -> None:
    """The slow fault delays an answer that is right otherwise."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "*", "fault": "slow", "latency_ms": 60}])
        began = monotonic()
        assert (await rig.call("GET", "/entities/asset"))[0] == 200
        assert monotonic() - began >= 0.06
        assert rig.sim.calls.since(1)[0]["fault"] == "slow"


@pytest.mark.anyio
async def test_a_hanging_call_has_no_effect() -> None:
    """The hang fault never answers and carries nothing out."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "onboard", "fault": "hang"}])
        with pytest.raises(httpx.ReadTimeout):
            await rig.http.post("/entities/site/onboard-site-and-asset", json=onboarding(), timeout=0.1)
        await until(lambda: rig.sim.calls.last == 2)
        assert not rig.sim.world.sites
        [call] = rig.sim.calls.since(1)
        assert (call["status"], call["fault"], call["effect"]) == (None, "hang", False)


@pytest.mark.anyio
async def test_an_effect_can_be_had_without_an_answer() -> None:
    """The effect-then-timeout fault carries the call out and then says nothing."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "onboard", "fault": "effect-then-timeout"}])
        with pytest.raises(httpx.ReadTimeout):
            await rig.http.post("/entities/site/onboard-site-and-asset", json=onboarding(), timeout=0.1)
        await until(lambda: rig.sim.calls.last == 2)
        [call] = rig.sim.calls.since(1)
        assert (call["status"], call["fault"], call["effect"]) == (None, "effect-then-timeout", True)
        assert [call["asset_id"]] == list(rig.sim.world.assets)
        assert (await rig.call("GET", "/entities/asset/external-id/charger-001"))[0] == 200


@pytest.mark.anyio
async def test_a_reset_cuts_the_answer_in_half() -> None:
    """The reset fault carries the call out and breaks the connection in the middle of the answer."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "onboard", "fault": "reset"}])
        with pytest.raises(httpx.TransportError):
            await rig.http.post("/entities/site/onboard-site-and-asset", json=onboarding())
        assert len(rig.sim.world.sites) == 1


@pytest.mark.anyio
async def test_a_reset_works_without_a_body() -> None:
    """An answer that has no body is reset as well."""
    async with running() as rig:
        _, asset_id = await rig.onboard()
        rig.sim.set_faults([{"endpoint": "asset", "method": "DELETE", "fault": "reset"}])
        with pytest.raises(httpx.TransportError):
            await rig.http.delete(f"/entities/asset/{asset_id}")
        assert not rig.sim.world.assets


@pytest.mark.anyio
async def test_a_dripping_answer_comes_byte_by_byte() -> None:
    """The drip fault sends a right answer one byte at a time."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "asset", "fault": "drip", "interval_ms": 1}])
        began = monotonic()
        async with rig.http.stream("GET", "/entities/asset") as answer:
            parts = [part async for part in answer.aiter_raw()]
        assert orjson.loads(b"".join(parts))["total_num_assets"] == 0
        assert monotonic() - began >= 0.001 * len(b"".join(parts))
        assert len(parts) > 10


@pytest.mark.anyio
async def test_broken_json_ends_too_early() -> None:
    """The broken-json fault sends the first half of the answer as if it were all."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "asset", "fault": "broken-json"}])
        answer = await rig.http.get("/entities/asset")
        assert answer.status_code == 200
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(answer.content)


@pytest.mark.anyio
async def test_a_gzip_bomb_is_small_on_the_wire() -> None:
    """The gzip-bomb fault sends a right answer that unpacks to its size, unasked."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "asset", "fault": "gzip-bomb", "size_bytes": 3_000_000}])
        for _ in range(2):
            async with rig.http.stream("GET", "/entities/asset", headers={"accept-encoding": "identity"}) as answer:
                packed = b"".join([part async for part in answer.aiter_raw()])
            assert answer.headers["content-encoding"] == "gzip"
            assert len(packed) < 10_000
            assert len(gzip.decompress(packed)) > 3_000_000
            assert orjson.loads(zlib.decompress(packed, wbits=31))["total_num_assets"] == 0


@pytest.mark.anyio
async def test_a_big_body_is_big_on_the_wire() -> None:
    """The big-body fault sends a right answer behind that much white space."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "asset", "fault": "big-body", "size_bytes": 300_000}])
        answer = await rig.http.get("/entities/asset")
        assert int(answer.headers["content-length"]) == len(answer.content) > 300_000
        assert answer.json()["total_num_assets"] == 0


@pytest.mark.anyio
async def test_the_sign_in_can_fail_too() -> None:
    """Faults reach the sign-in like every other endpoint."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "token", "fault": "401", "count": 1}])
        assert (await rig.sign_in("user", "secret")).status_code == 401
        assert (await rig.sign_in("user", "secret")).status_code == 200
