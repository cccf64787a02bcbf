"""Wiring: settings become the values that the shell is built from, and what cannot be one becomes a sentence."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from processor.cli.wiring import connection, service_config, set_up_log, topic_names
from processor.core.rules import Rules
from processor.settings import PREFIX, SettingsWrong, load
from processor.shell.axle_client import AxleAccount
from processor.shell.service import ServiceConfig
from processor.shell.topics import TopicNames

ACCOUNT = {"AXLE__USERNAME": "us", "AXLE__PASSWORD": "hunter2-hunter2", "PRIVACY__KEY": "k"}


def config(**environ: str) -> ServiceConfig:
    """The configuration of a processor with an account and these variables."""
    return service_config(load({PREFIX + name: value for name, value in {**ACCOUNT, **environ}.items()}))


def sentence(**environ: str) -> str:
    with pytest.raises(SettingsWrong) as refused:
        config(**environ)
    return str(refused.value)


@pytest.fixture
def log_restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_the_defaults_of_settings_are_those_of_the_values() -> None:
    """With an account and nothing else, the shell gets the defaults that its own values have."""
    axle = AxleAccount("https://api-sandbox.axle.energy", "us", "hunter2-hunter2")
    assert config() == ServiceConfig(
        "localhost:9092", axle, rules=Rules(secret=b"k"), connection={"security.protocol": "plaintext"}
    )


def test_every_setting_reaches_its_place() -> None:
    """Seconds and minutes become milliseconds, names stay names, and each value lands where it is meant."""
    made = config(
        ENVIRONMENT="prod",
        KAFKA__BOOTSTRAP_SERVERS="b:1",
        KAFKA__GROUP_ID="g",
        KAFKA__INSTANCE_ID="i-0",
        KAFKA__START_FROM="latest",
        KAFKA__SESSION_TIMEOUT_SECONDS="6.5",
        KAFKA__TRANSACTION_TIMEOUT_SECONDS="4.25",
        TOPICS__STATE="my.state",
        AXLE__BASE_URL="http://localhost:1",
        AXLE__DEADLINE_SECONDS="2.5",
        AXLE__CALLS_MAX="7",
        AXLE__GIVE_UP_AFTER_SECONDS="90",
        PAUSES__MIN_MINUTES="6",
        PAUSES__MAX_MINUTES="30",
        PAUSES__TOTAL_MAX_MINUTES="45",
        PAUSES__COUNT_MAX="2",
        PAUSES__LEAD_SECONDS="12.5",
        HTTP__HOST="0.0.0.0",  # noqa: S104  nothing listens on it
        HTTP__PORT="0",
    )
    assert made == ServiceConfig(
        bootstrap_servers="b:1",
        axle=AxleAccount("http://localhost:1", "us", "hunter2-hunter2", 2.5),
        topics=replace(TopicNames(), state="my.state"),
        group_id="g",
        instance_id="i-0",
        environment="prod",
        start_from="latest",
        session_timeout_ms=6_500,
        transaction_timeout_ms=4_250,
        calls_max=7,
        http_host="0.0.0.0",  # noqa: S104  nothing listens on it
        http_port=0,
        rules=Rules(
            pause_min_ms=360_000,
            pause_max_ms=1_800_000,
            pauses_total_max_ms=2_700_000,
            pauses_count_max=2,
            lead_ms=12_500,
            give_up_after_ms=90_000,
            secret=b"k",
        ),
        connection={"security.protocol": "plaintext"},
    )


def test_the_names_of_topics_have_the_same_defaults() -> None:
    """The settings and the shell agree on what the topics are called."""
    assert topic_names(load({})) == TopicNames()


def test_the_connection_carries_tls_and_sasl() -> None:
    """What a secured cluster needs reaches librdkafka under its names, and further options win."""
    settings = load(
        {
            f"{PREFIX}KAFKA__{name}": value
            for name, value in {
                "SECURITY_PROTOCOL": "sasl_ssl",
                "SASL_MECHANISM": "SCRAM-SHA-512",
                "SASL_USERNAME": "us",
                "SASL_PASSWORD": "hunter2",
                "SSL_CA_LOCATION": "/ca.pem",
                "EXTRA": '{"ssl.key.location": "/key.pem", "sasl.mechanism": "PLAIN"}',
            }.items()
        }
    )
    assert connection(settings) == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "us",
        "sasl.password": "hunter2",
        "ssl.ca.location": "/ca.pem",
        "ssl.key.location": "/key.pem",
    }


def test_the_password_is_read_from_its_file(tmp_path: Path) -> None:
    """A password file wins over the variable, and the line end that editors leave is not part of the password."""
    (tmp_path / "password").write_text("from the file\n")
    assert config(AXLE__PASSWORD_FILE=str(tmp_path / "password")).axle.password == "from the file"


@pytest.mark.parametrize(("content", "said"), [(b"", "must be set"), (b"\xff\xfe", "not UTF-8 text")])
def test_a_password_file_without_a_password_is_a_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    """An empty file, or one that is no text, is told with the variable that names it."""
    (tmp_path / "password").write_bytes(content)
    told = sentence(AXLE__PASSWORD_FILE=str(tmp_path / "password"))
    assert "__PASSWORD_FILE" in told
    assert said in told


@pytest.mark.parametrize("url", ["http://example.org", "ftp://localhost", "api.axle.energy", "https://a:port"])
def test_a_base_url_that_will_not_do_names_its_variable(url: str) -> None:
    """Plain http beyond this machine, another scheme, none, or no URL at all: one line, with the variable."""
    told = sentence(AXLE__BASE_URL=url)
    assert told.startswith(f"{PREFIX}AXLE__BASE_URL: ")
    assert "\n" not in told


@pytest.mark.parametrize("key", ["k" * 65, "é" * 33])
def test_a_key_that_will_not_do_names_its_variable(key: str) -> None:
    """A key of more than 64 bytes is told with the variable and without the key."""
    assert sentence(PRIVACY__KEY=key) == (f"{PREFIX}PRIVACY__KEY must have 1 to 64 bytes, not {len(key.encode())}")


def test_the_configuration_shows_no_password() -> None:
    """Whoever prints the configuration of a processor prints neither Axle's password nor the brokers'."""
    shown = repr(config(KAFKA__SASL_PASSWORD="hunter2-hunter2"))
    assert "hunter2" not in shown


def test_the_log_is_json_where_nobody_watches(log_restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal each line on stderr is a JSON object with level and UTC time, and lower levels are left out."""
    set_up_log("warning", "auto")
    structlog.get_logger().info("left out")
    structlog.get_logger().warning("said", site_count=1)
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    told = json.loads(line)
    assert (out, told["event"], told["level"], told["site_count"]) == ("", "said", "warning", 1)
    assert told["timestamp"].endswith("Z")
