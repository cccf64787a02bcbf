"""Secrets and personal data are let out nowhere: a run full of faults is searched for every one of them."""

import json
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import cast
from urllib.parse import quote, quote_plus

from confluent_kafka import Message

from processor.core.events import Enrolment, PlugIn
from processor.demo.axle import SimSettings
from processor.demo.axle_operations import Tokens
from processor.demo.kafka import Broker
from processor.shell.records import Headers
from processor.shell.topics import TopicNames
from tests.broker import Record, produce
from tests.kafka.rig import (
    CODEC,
    NOWHERE,
    Running,
    Simulator,
    now_ms,
    page_of,
    processor,
    processor_environ,
    read_all,
    simulator,
    tonight,
    wait_until,
    withdrawal,
)

USER, PASSWORD, PRIVACY_KEY = "canary-user", "canary-password-ä/&", "canary-privacy-key-0123456789"
POSTCODE, ADDRESS, EMAIL, NOTE = "CA7 9RY", "13 Canary Mews", "canary@home.example", "canary-note"
SECRETS = (USER, PASSWORD, PRIVACY_KEY, POSTCODE, ADDRESS, EMAIL, NOTE)
ONBOARDING_FAULTS: tuple[dict[str, object], ...] = (
    {"fault": "400"},
    {"fault": "401"},
    {"fault": "403"},
    {"fault": "404"},
    {"fault": "409"},
    {"fault": "422"},
    {"fault": "422-list"},
    {"fault": "429"},
    {"fault": "503"},
    {"fault": "redirect", "location": f"http://127.0.0.1:1/{PASSWORD}"},
    {"fault": "reset"},
    {"fault": "hang"},
    {"fault": "effect-then-timeout"},
    {"fault": "broken-json"},
    {"fault": "gzip-bomb", "size_bytes": 1_000_000},
)
SCHEDULE_FAULTS = ("401", "404", "422-list", "500", "broken-json", "non-subset", "naive-times", "reset")
TIMES = 2
"""So often each call goes wrong; then Axle is well."""


def _mpan(number: int) -> str:
    return f"77770000{number:05d}"


def _plug_in(number: int) -> bytes:
    when = now_ms()
    enrolment = Enrolment(_mpan(number), POSTCODE, ADDRESS, when - 1000, when - 1000, EMAIL)
    return CODEC.encode_input(
        PlugIn(f"p-{number}", when, NOWHERE, f"s-{number}", f"c-{number}", tonight(when), 7.4, enrolment)
    )


def _faults() -> list[dict[str, object]]:
    """A charger for each fault; whatever Axle says of it repeats what it was told."""
    echo = {"detail": f"{EMAIL} of {ADDRESS}, {POSTCODE}, who is {USER} with {PASSWORD}"}
    rules: list[dict[str, object]] = []
    for number, fault in enumerate(ONBOARDING_FAULTS):
        more: dict[str, str] = echo if str(fault["fault"])[0].isdigit() else {}
        rules.append({"endpoint": "onboard", "external_id": f"c-{number}", "count": TIMES, **fault, **more})
    for number, name in enumerate(SCHEDULE_FAULTS, len(ONBOARDING_FAULTS)):
        more = echo if name[0].isdigit() else {}
        rules.append({"endpoint": "schedule", "external_id": f"c-{number}", "count": TIMES, "fault": name, **more})
    return rules


def _bad_inputs() -> Iterator[Record]:
    """Records that cannot be taken, each with something personal in it."""
    good = _plug_in(0)
    for value in (good[:-7], good + b"\x00", EMAIL.encode() + good, good + ADDRESS.encode() * 30_000):
        yield b"s-bad", value, [("x-note", NOTE.encode())]
    yield b"s-bad", good.replace(POSTCODE.encode(), b"C\xff7 9RY"), [("x-note", NOTE.encode())]


def _forms(secret: str) -> set[bytes]:
    """How it may be written: as it is, in a URL, in JSON."""
    return {
        form.encode()
        for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    }


def _tokens(axle: Simulator) -> list[str]:
    """Those that were given out. The log does not hold them; equal seeds give equal tokens."""
    calls = axle.get("/_sim/calls?since=0")["calls"]
    assert isinstance(calls, list)
    issued = Tokens(1.0, SimSettings().seed, float)
    return [issued.issue() for call in calls if call["endpoint"] == "token" and call["status"] == 200]


def _pages(running: Running) -> bytes:
    """Everything that the running process serves."""
    read = b""
    for path in ("/", "/status.json", "/metrics", "/livez", "/readyz", "/startupz"):
        with closing(urllib.request.urlopen(f"{page_of(running)}{path}", timeout=5)) as answer:  # noqa: S310 - loopback
            read += answer.read()
    return read


def _ours(message: Message) -> bytes:
    """The headers that we added to somebody else's record; its own, as its key and value, are as they came."""
    headers = cast("Headers", message.headers() or [])
    return _joined(part for name, value in headers if name.startswith(("dlt-", "reroute-")) for part in (name, value))


def _whole(message: Message) -> bytes:
    headers = cast("Headers", message.headers() or [])
    return _joined([message.key(), message.value(), *(part for header in headers for part in header)])


def _joined(parts: Iterable[object]) -> bytes:
    return b"\n".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)


def test_nothing_secret_or_personal_gets_out(broker: Broker, topics: TopicNames) -> None:
    """With every fault of Axle's and bad records, no log, page, metric, output or header of ours holds any of it."""
    bootstrap, homes = broker.bootstrap_servers, len(ONBOARDING_FAULTS) + len(SCHEDULE_FAULTS)
    bad = list(_bad_inputs())
    with simulator() as axle:
        axle.put_faults(_faults())
        environ = processor_environ(
            bootstrap,
            topics,
            axle.url,
            AXLE__USERNAME=USER,
            AXLE__PASSWORD=PASSWORD,
            AXLE__DEADLINE_SECONDS="1",
            PRIVACY__KEY=PRIVACY_KEY,
            ONBOARDING__LOOK_UP_MINUTES="0,0.01,0.02",
            LOG__LEVEL="debug",
        )
        with processor(environ, 2) as running:
            produce(bootstrap, topics.plug_in, [(f"s-{n}".encode(), _plug_in(n), None) for n in range(homes)])
            produce(bootstrap, topics.plug_in, bad)
            wait_until(lambda: len(read_all(bootstrap, topics.outcomes)) >= homes, 60, "each plug-in has its outcome")
            wait_until(lambda: len(read_all(bootstrap, topics.dead_letter)) == len(bad), 20, "dead letters")
            served = _pages(running)
            produce(
                bootstrap,
                topics.consent_withdrawn,
                [(f"s-{n}".encode(), withdrawal(f"s-{n}", f"w-{n}"), None) for n in range(homes)],
            )
            wait_until(lambda: len(read_all(bootstrap, topics.outcomes)) >= 2 * homes, 60, "all withdrawn")
            served += _pages(running)
            assert running.terminate() == 0, running.said()
            said = running.said().encode()
        tokens = _tokens(axle)
    places: dict[str, bytes] = {"log": said, "pages": served}
    for topic in (topics.modified_schedule, topics.enrolment_status, topics.outcomes):
        places[topic] = b"\n".join(_whole(message) for message in read_all(bootstrap, topic))
    for topic in (topics.dead_letter, topics.reroute):
        places[topic] = b"\n".join(_ours(message) for message in read_all(bootstrap, topic))
    newest = {message.key(): message for message in read_all(bootstrap, topics.state)}
    places["the state of homes that have left"] = b"\n".join(_whole(one) for one in newest.values())
    secrets = {*SECRETS, *tokens, *(_mpan(number) for number in range(homes))}
    assert tokens
    assert b"Axle gave no answer" in said
    found = [
        f"{secret!r} in {place}"
        for secret in sorted(secrets)
        for place, text in places.items()
        if any(form in text for form in _forms(secret))
    ]
    assert found == []
