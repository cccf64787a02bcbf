"""The running simulator: its log, its control routes, its limits, and how it heals and stops."""

import asyncio
import socket
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import orjson
import pytest

from processor.demo.axle import AxleSimulator, FaultsError, ListenError, SimSettings
from tests.demo.axle_rig import NIGHT, Rig, onboarding, question, running, schedule_path, until

pytestmark = pytest.mark.anyio


async def hanging(rig: Rig, calls: int = 1) -> list["asyncio.Task[httpx.Response]"]:
    """So many calls that were all seen to hang."""
    rig.sim.set_faults([{"endpoint": "asset", "fault": "hang"}])
    tasks = [asyncio.create_task(rig.http.get("/entities/asset")) for _ in range(calls)]
    await until(lambda: rig.sim.waiting == calls)
    return tasks


async def test_every_call_is_logged_with_its_ids() -> None:
    """The log tells for each call whom it was about, what it said, what was answered and whether it did anything."""
    async with running(pause_share=1.0) as rig:
        site_id, asset_id = await rig.onboard()
        await rig.call("POST", schedule_path(asset_id), question(*NIGHT))
        await rig.call("POST", f"/entities/site/{site_id}/offboard-site-and-assets")
        await rig.call("GET", "/entities/asset/external-id/charger-001")
        token, onboard, ask, offboard, look_up = rig.sim.calls
        assert [call["n"] for call in rig.sim.calls] == [1, 2, 3, 4, 5]
        assert (token["endpoint"], token["body"], token["answer"]) == ("token", None, None)
        assert onboard["body"] == onboarding()
        for call in (onboard, ask):
            assert (call["external_id"], call["axle_site_id"], call["asset_id"]) == ("charger-001", site_id, asset_id)
        assert len(ask["answer"]["modified_charging_schedule"]) == 2
        assert (offboard["axle_site_id"], offboard["effect"]) == (site_id, True)
        assert (look_up["external_id"], look_up["status"], look_up["effect"]) == ("charger-001", 404, False)


async def test_the_log_file_holds_a_call_before_its_answer(tmp_path: Path) -> None:
    """Whoever has an answer finds its call in the file, one JSON line each."""
    file = tmp_path / "calls.jsonl"
    async with running(calls_file=file) as rig:
        await rig.onboard()
        lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
        assert lines == list(rig.sim.calls)
    async with running(calls_file=file) as rig:
        await rig.http.get("/entities/asset")
    assert [orjson.loads(line)["n"] for line in file.read_bytes().splitlines()] == [1, 2, 1, 2]


async def test_calls_are_paged_over_http() -> None:
    """`since` and `limit` page through the log, and `next` is where to go on."""
    async with running() as rig:
        for _ in range(4):
            await rig.call("GET", "/entities/asset")
        page = (await rig.http.get("/_sim/calls?since=1&limit=3")).json()
        assert ([call["n"] for call in page["calls"]], page["next"], page["last"]) == ([2, 3, 4], 4, 5)
        page = (await rig.http.get("/_sim/calls?since=5")).json()
        assert page == {"calls": [], "next": 5, "last": 5, "waiting": 0}
        assert (await rig.http.get("/_sim/calls?since=x")).status_code == 400


async def test_the_world_is_told_over_http() -> None:
    """A verifier sees the sites and assets that the simulator holds."""
    async with running() as rig:
        site_id, asset_id = await rig.onboard()
        world = (await rig.http.get("/_sim/world")).json()
        assert world == rig.sim.world.snapshot()
        assert (world["sites"][0]["id"], world["assets"][0]["id"]) == (site_id, asset_id)


async def test_faults_are_set_over_http() -> None:
    """PUT replaces the rules and answers them, GET tells them, and an empty list heals."""
    async with running() as rig:
        rules: list[Any] = [{"endpoint": "*", "fault": "503"}]
        assert (await rig.http.put("/_sim/faults", json=rules)).json() == rules
        assert (await rig.http.get("/_sim/faults")).json() == rules
        assert (await rig.http.get("/entities/asset")).status_code == 503
        assert (await rig.http.put("/_sim/faults", json=[])).json() == []
        assert (await rig.http.get("/entities/asset")).status_code == 200


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'[{"fault": "explode"}]', b" " * 300_000])
async def test_wrong_faults_leave_the_old_ones(raw: bytes) -> None:
    """A PUT that cannot be read is refused in a sentence and changes nothing."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "site", "fault": "hang"}])
        answer = await rig.http.put("/_sim/faults", content=raw)
        assert (answer.status_code, type(answer.json()["detail"])) == (400, str)
        assert rig.sim.faults == [{"endpoint": "site", "fault": "hang"}]


async def test_healing_hangs_up_on_hanging_calls() -> None:
    """Once the faults are replaced, the connections of hanging calls are closed without an answer."""
    async with running() as rig:
        tasks = await hanging(rig, 3)
        rig.sim.set_faults([])
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 2)
        assert all(isinstance(result, httpx.TransportError) for result in results)
        assert (await rig.call("GET", "/entities/asset"))[0] == 200


@pytest.mark.parametrize("fault", [{"fault": "slow", "latency_ms": 60_000}, {"fault": "drip", "interval_ms": 60_000}])
async def test_healing_finishes_slow_answers(fault: dict[str, Any]) -> None:
    """Once the faults are replaced, slow and dripping answers come at once and whole."""
    async with running() as rig:
        rig.sim.set_faults([{"endpoint": "asset", **fault}])
        task = asyncio.create_task(rig.http.get("/entities/asset"))
        await until(lambda: rig.sim.waiting == 1)
        rig.sim.set_faults([])
        answer = await asyncio.wait_for(task, 2)
        assert answer.json()["total_num_assets"] == 0


async def test_a_stop_does_not_wait_for_hanging_calls() -> None:
    """The simulator stops within a second while calls hang, and their clients notice."""
    async with running() as rig:
        tasks = await hanging(rig, 3)
        began = monotonic()
        await rig.sim.__aexit__(None, None, None)
        assert monotonic() - began < 1
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, httpx.TransportError) for result in results)


async def test_a_body_over_the_limit_is_refused() -> None:
    """A request of more than 256 KiB gets 413, whether it announces its length or not."""
    async with running() as rig:

        async def chunks() -> Any:
            for _ in range(5):
                yield b" " * 65_536

        for content in (b" " * 300_000, chunks()):
            answer = await rig.http.post("/entities/site/onboard", content=content)
            assert answer.status_code == 413
            assert isinstance(answer.json()["detail"], str)


async def test_a_client_that_hangs_up_early_leaves_no_trace() -> None:
    """A request that ends before its body is whole is neither logged nor carried out."""
    async with running() as rig:
        url = httpx.URL(rig.sim.url)
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"POST /entities/site/onboard HTTP/1.1\r\nhost: sim\r\ncontent-length: 99\r\n\r\n{")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()
        assert [call["endpoint"] for call in rig.sim.calls] == ["token"]


async def test_a_taken_port_is_one_sentence() -> None:
    """A port that somebody listens on is refused with its number."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1 port {port}"):
            async with AxleSimulator(SimSettings(port=port)):
                pass


async def test_wrong_faults_stop_the_start() -> None:
    """The simulator does not start with rules that it cannot read."""
    with pytest.raises(FaultsError, match="rule 1"):
        async with AxleSimulator(SimSettings(faults=[{"fault": "explode"}])):
            pass


async def test_a_calls_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    """A calls file in a folder that is not there is an error, and the port is free again."""
    with pytest.raises(FileNotFoundError):
        async with AxleSimulator(SimSettings(calls_file=tmp_path / "no" / "calls.jsonl")):
            pass


async def test_there_is_no_url_before_the_start() -> None:
    """Asking for the URL too early is an error that says so."""
    with pytest.raises(RuntimeError, match="before it is entered"):
        AxleSimulator().url  # noqa: B018  the property raises
