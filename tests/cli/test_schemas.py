"""`schemas check|register` as an operator meets them: with a real registry, with folders, and with nobody there."""

import json
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from typer.testing import Result as Ended

from processor.cli import app
from processor.demo.registry import EmbeddedRegistry
from processor.settings import PREFIX
from processor.shell.schema_files import schema_texts
from processor.shell.topics import TopicNames
from tests.broker import prefixed
from tests.cli.parts import NOBODY, environment

REGISTRY_URL = f"{PREFIX}SCHEMA_REGISTRY__URL"
PLUG_IN, BOOST, MODIFIED = "ev.plug-in.v1", "ev.user-boost.v1", "ev.modified-schedule.v1"
_TESTS = count(1)


@pytest.fixture
def environ(registry: EmbeddedRegistry) -> dict[str, str]:
    """Of an operator whose topics, and so whose subjects, no other test has."""
    names = prefixed(TopicNames(), f"s{next(_TESTS)}.")
    return {**environment(NOBODY, names), REGISTRY_URL: registry.url}


def axle(environ: dict[str, str], *arguments: str | Path) -> Ended:
    return CliRunner().invoke(app, ["schemas", *map(str, arguments)], env=environ)


def written(folder: Path, **changes: Callable[[dict[str, Any]], object]) -> Path:
    """The schemas of this release in a folder, some of them changed."""
    folder.mkdir()
    for name, text in schema_texts().items():
        schema = json.loads(text)
        if change := changes.get(schema["name"]):
            change(schema)
        (folder / f"{name}.avsc").write_text(json.dumps(schema), encoding="utf-8")
    return folder


def adds(**more: Any) -> Callable[[dict[str, Any]], object]:
    return lambda schema: schema["fields"].append({"name": "tariff", "type": "string", "doc": "Which one.", **more})


def loses(name: str) -> Callable[[dict[str, Any]], object]:
    def change(schema: dict[str, Any]) -> None:
        schema["fields"] = [field for field in schema["fields"] if field["name"] != name]

    return change


def problems(ended: Ended) -> dict[str, list[str]]:
    """The fields that break, by name of the schema or subject, without the prefix of a test's topics."""
    told = json.loads(ended.stdout)
    return {
        each["name"].partition(".")[2] if each["name"].startswith("s") else each["name"]: [
            problem["field"] for problem in each["problems"]
        ]
        for each in told
        if each["problems"]
    }


def test_registering_is_shown_first_and_done_once(environ: dict[str, str]) -> None:
    """Without `--apply` nothing changes; with it each topic has its schema and its rule, once."""
    shown = axle(environ, "register")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.count("would be registered; the rule") == 6
    assert "nothing earlier to compare with" in axle(environ, "check").stdout
    done = axle(environ, "register", "--apply")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("registered: id") == 6
    again = axle(environ, "register", "--apply", "--json")
    steps = {each["subject"].partition(".")[2]: each for each in json.loads(again.stdout)}
    assert {each["is_new"] for each in steps.values()} == {False}
    assert steps[f"{PLUG_IN}-value"]["rule_there"] == "BACKWARD_TRANSITIVE"
    assert steps[f"{MODIFIED}-value"]["rule_there"] == "FULL_TRANSITIVE"
    assert axle(environ, "check").stdout.count("compatible with version 1") == 6


def test_a_breaking_schema_is_refused_with_its_field(environ: dict[str, str], tmp_path: Path) -> None:
    """What breaks readers or old records is named field by field, and keeps every schema out of the registry."""
    assert axle(environ, "register", "--apply").exit_code == 0
    bad = written(tmp_path / "bad", PlugIn=adds(), ModifiedSchedule=loses("final"), UserBoost=adds(default=""))
    checked = axle(environ, "check", "--schemas", bad)
    assert checked.exit_code == 1
    assert "tariff is new and has no default: records that were written before have no value for it" in checked.stdout
    assert "final is gone and had no default: readers of the earlier schema cannot do without it" in checked.stdout
    assert problems(axle(environ, "check", "--schemas", bad, "--json")) == {
        f"{PLUG_IN}-value": ["tariff"],
        f"{MODIFIED}-value": ["final"],
    }
    refused = axle(environ, "register", "--schemas", bad, "--apply")
    assert refused.exit_code == 1
    assert "nothing is registered" in refused.stderr
    assert "version 2" not in axle(environ, "check").stdout


def test_every_earlier_version_counts(environ: dict[str, str], tmp_path: Path) -> None:
    """A change that the newest version would bear is refused for the sake of an older one."""
    assert axle(environ, "register", "--apply").exit_code == 0
    second = written(tmp_path / "second", ModifiedSchedule=adds(default=""))
    assert axle(environ, "register", "--apply", "--schemas", second).exit_code == 0
    third = written(tmp_path / "third", ModifiedSchedule=adds())
    checked = axle(environ, "check", "--schemas", third)
    assert checked.exit_code == 1
    assert "tariff is new and has no default" in checked.stdout
    assert "[version 1]" in checked.stdout


def test_a_rule_that_somebody_set_stays(environ: dict[str, str], registry: EmbeddedRegistry) -> None:
    """A subject with a rule of its own keeps it, and the operator reads that it differs."""
    from confluent_kafka.schema_registry import SchemaRegistryClient

    assert axle(environ, "register", "--apply").exit_code == 0
    subject = f"{environ[f'{PREFIX}TOPICS__PLUG_IN']}-value"
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.set_compatibility(subject, "FORWARD")
        again = axle(environ, "register", "--apply")
        assert f"{subject}  is registered: version 1" in again.stdout
        assert "its rule is FORWARD, not BACKWARD_TRANSITIVE: that is left to you" in again.stdout
        assert client.get_compatibility(subject) == "FORWARD"


def test_the_registry_s_own_rule_is_asked_too(
    environ: dict[str, str], registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    """What we would allow but the registry would refuse is said before anything is registered."""
    from confluent_kafka.schema_registry import SchemaRegistryClient

    assert axle(environ, "register", "--apply").exit_code == 0
    subject = f"{environ[f'{PREFIX}TOPICS__PLUG_IN']}-value"
    with SchemaRegistryClient({"url": registry.url}) as client:
        client.set_compatibility(subject, "FULL_TRANSITIVE")
    less = written(tmp_path / "less", PlugIn=loses("charger_id"))
    checked = axle(environ, "check", "--schemas", less)
    assert checked.exit_code == 1
    assert "would be refused: the registry's own rule, FULL_TRANSITIVE, says so  [version 1]" in checked.stdout


def test_earlier_releases_need_no_registry(tmp_path: Path) -> None:
    """Against folders the same question is answered in the same words, for each release that is given."""
    first = written(tmp_path / "first")
    second = written(tmp_path / "second", UserBoost=adds(default=""))
    against = ("--against", first, "--against", second)
    assert axle({}, "check", *against).exit_code == 0
    third = written(tmp_path / "third", PlugIn=adds(), EnrolmentStatus=loses("consent"))
    checked = axle({}, "check", *against, "--schemas", third, "--json")
    assert checked.exit_code == 1
    assert problems(checked) == {PLUG_IN: ["tariff"], "ev.enrolment-status.v1": ["consent"]}
    (third / f"{BOOST}.avsc").unlink()
    assert "the schema is gone" in axle({}, "check", *against, "--schemas", third).stdout


def test_what_is_no_schema_breaks(tmp_path: Path) -> None:
    """A file that is no Avro schema is a problem of that file alone, told in one line."""
    broken = written(tmp_path / "broken")
    (broken / f"{PLUG_IN}.avsc").write_text("{", encoding="utf-8")
    checked = axle({}, "check", "--against", written(tmp_path / "first"), "--schemas", broken)
    assert checked.exit_code == 1
    assert "the schema cannot be compared: the new schema is no Avro schema" in checked.stdout
    assert checked.stdout.count("compatible with") == 5


def test_options_that_do_not_go_together_are_usage(tmp_path: Path) -> None:
    """With nothing to compare with, or with too much, the answer says what to give."""
    neither = axle({}, "check")
    assert neither.exit_code == 2
    assert "give --registry URL" in neither.stderr
    both = axle({}, "check", "--registry", f"http://{NOBODY}", "--against", tmp_path)
    assert both.exit_code == 2
    assert "not both" in both.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--registry", "ftp://registry"), "must begin with http:// or https://"),
        (("--registry", "http://registry:port"), "URL is none"),
        (("--against", "/no/such/folder"), "has no schemas"),
        (("--schemas", "/no/such/folder", "--against", "/no/such/folder"), "has no schemas"),
    ],
)
def test_what_cannot_be_is_configuration(arguments: tuple[str, ...], words: str) -> None:
    """An address or a folder that cannot be used is one sentence and exit code 3."""
    ended = axle({}, "check", *arguments)
    assert ended.exit_code == 3, ended.output
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_certificate_file_that_is_not_there_is_configuration() -> None:
    """A wrong CA file is told by its variable."""
    environ = {REGISTRY_URL: "https://registry", f"{PREFIX}SCHEMA_REGISTRY__CA_FILE": "/no/such.pem"}
    ended = axle(environ, "check")
    assert ended.exit_code == 3
    assert "SCHEMA_REGISTRY__" in ended.stderr


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """Something that gives everybody the same answer: its URL, and the accounts that it was shown."""
    accounts: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            accounts.append(self.headers["Authorization"])
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", accounts
    finally:
        server.shutdown()
        server.server_close()
        serving.join(10)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"<html>no such page</html>", "is that the address of its API"),
        (404, b'{"detail": "Not Found"}', "is that the address of its API"),
        (500, b'{"error_code": 50001, "message": "The store is down"}', "answered 500: The store is down"),
        (200, b"<html>welcome</html>", "no answer from"),
    ],
)
def test_what_does_not_answer_as_a_registry_is_never_taken_for_one(status: int, body: bytes, words: str) -> None:
    """A page, a proxy or a registry in trouble is exit code 4, and no schema is called compatible for it."""
    with answering(status, body) as (url, _):
        ended = axle({}, "check", "--registry", url)
    assert ended.exit_code == 4, ended.output
    assert words in ended.stderr
    assert ended.stdout == ""


def test_nobody_there_is_told_within_five_seconds() -> None:
    """A registry that does not run is one sentence, soon, without the account that was in its URL."""
    began = time.monotonic()
    ended = axle({}, "check", "--registry", f"http://us:hunter2@{NOBODY}")
    assert ended.exit_code == 4
    assert f"no answer from http://{NOBODY}" in ended.stderr
    assert "hunter2" not in ended.output
    assert time.monotonic() - began < 5


def test_the_account_is_shown_and_a_wrong_one_is_configuration() -> None:
    """The registry is shown the account of the settings, and whom it does not let in reads which variables to set."""
    with answering(401, b'{"error_code": 40101, "message": "Unauthorized"}') as (url, accounts):
        account = {f"{PREFIX}SCHEMA_REGISTRY__USERNAME": "us", f"{PREFIX}SCHEMA_REGISTRY__PASSWORD": "hunter2"}
        ended = axle({REGISTRY_URL: url, **account}, "check")
    assert accounts == ["Basic " + b64encode(b"us:hunter2").decode()]
    assert ended.exit_code == 3
    assert "SCHEMA_REGISTRY__USERNAME" in ended.stderr
    assert "hunter2" not in ended.output
