"""Wiring: settings become the values that the shell is built from, and what cannot be one becomes a sentence."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import structlog

from processor.cli.wiring import connection, service_config, set_up_log, topic_names
from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.settings import PREFIX, SettingsWrong, load
from processor.shell.axle_client import AxleAccount
from processor.shell.service import ServiceConfig
from processor.shell.topics import TopicNames
from processor.wire.inputs import InputLimits
from processor.wire.state import STATE_VERSION, WRITABLE_VERSIONS
from tests.shell.certificates import authority_and_server

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
    """With an account and nothing else, the shell gets the defaults that its own values have.

    Only the state's version is the one before the newest, until an operator says so.
    """
    axle = AxleAccount("https://api-sandbox.axle.energy", "us", "hunter2-hunter2")
    plain = {"security.protocol": "plaintext"}
    assert config() == ServiceConfig(
        "localhost:9092", axle, rules=Rules(secret=b"k"), connection=plain, write_version=STATE_VERSION - 1
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
        AXLE__RECONCILE_HOURS="1.5",
        PAUSES__COUNT_MAX="2",
        INPUTS__SCHEDULE_BLOCKS_MAX="20",
        STATE__WRITE_VERSION=str(WRITABLE_VERSIONS[1]),
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
        reconcile_seconds=5400.0,
        http_host="0.0.0.0",  # noqa: S104  nothing listens on it
        http_port=0,
        rules=Rules(pauses_count_max=2, secret=b"k"),
        limits=InputLimits(schedule_blocks_max=20),
        write_version=WRITABLE_VERSIONS[1],
        connection={"security.protocol": "plaintext"},
    )


def test_every_number_of_the_core_is_a_setting() -> None:
    """Each rule follows a setting: when all of them change, none of the core's numbers keeps its default."""
    rules = config(
        AXLE__GIVE_UP_AFTER_SECONDS="90",
        PAUSES__MIN_MINUTES="6",
        PAUSES__MAX_MINUTES="30",
        PAUSES__TOTAL_MAX_MINUTES="45",
        PAUSES__COUNT_MAX="2",
        PAUSES__LEAD_SECONDS="12.5",
        QUESTIONS__EVERY_SECONDS="2.5",
        QUESTIONS__AT_ONCE_MAX="4",
        BOOSTS__BEFORE_PLUG_IN_MINUTES="3",
        SITES__CHARGERS_MAX="2",
        ONBOARDING__FORM="upsert",
        ONBOARDING__ON_WITHDRAWAL="unenrol",
        ONBOARDING__ELSEWHERE="true",
        ONBOARDING__LIFE_HOURS="12",
        ONBOARDING__NOT_FOUND_HOURS="1.5",
        ONBOARDING__LOOK_UP_MINUTES="0.5,5",
    ).rules
    assert rules == Rules(
        give_up_after_ms=90_000,
        pause_min_ms=6 * MINUTE_MS,
        pause_max_ms=30 * MINUTE_MS,
        pauses_total_max_ms=45 * MINUTE_MS,
        pauses_count_max=2,
        lead_ms=12_500,
        question_every_ms=2_500,
        questions_at_once_max=4,
        boost_before_plug_in_ms=3 * MINUTE_MS,
        chargers_max=2,
        onboarding_form=OnboardingForm.UPSERT,
        withdrawal_action=WithdrawalAction.UNENROL,
        onboarding_elsewhere=True,
        onboarding_life_ms=12 * HOUR_MS,
        not_found_memory_ms=90 * MINUTE_MS,
        look_up_delays_ms=(30_000, 5 * MINUTE_MS),
        secret=b"k",
    )
    kept = [name for name in Rules.__struct_fields__ if getattr(rules, name) == getattr(Rules(), name)]
    assert kept == []


def test_every_limit_of_inputs_is_a_setting() -> None:
    """Each limit follows a setting: when all of them change, none of the reader's numbers keeps its default."""
    limits = config(
        INPUTS__AGE_MAX_DAYS="7",
        INPUTS__AHEAD_MAX_MINUTES="0.5",
        INPUTS__SCHEDULE_MAX_HOURS="24",
        INPUTS__SCHEDULE_BLOCKS_MAX="20",
        BOOSTS__OPEN_END_HOURS="2",
        BOOSTS__MAX_HOURS="8",
    ).limits
    assert limits == InputLimits(
        age_max_ms=168 * HOUR_MS,
        ahead_max_ms=30_000,
        schedule_span_max_ms=24 * HOUR_MS,
        schedule_blocks_max=20,
        boost_open_end_ms=2 * HOUR_MS,
        boost_max_ms=8 * HOUR_MS,
    )
    defaults = asdict(InputLimits())
    assert [name for name, value in asdict(limits).items() if value == defaults[name]] == []


def test_only_states_that_this_release_writes_can_be_asked_for() -> None:
    """By default the one before the newest, which is written only when told; another one is told with the variable."""
    assert config().write_version == STATE_VERSION - 1
    for version in WRITABLE_VERSIONS:
        assert config(STATE__WRITE_VERSION=str(version)).write_version == version
    told = sentence(STATE__WRITE_VERSION=str(WRITABLE_VERSIONS[-1] + 1))
    assert told.startswith(f"{PREFIX}STATE__WRITE_VERSION must be {WRITABLE_VERSIONS[0]} or {WRITABLE_VERSIONS[-1]}")


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


def test_a_certificate_and_a_proxy_reach_the_account(tmp_path: Path) -> None:
    """The CA file is read whole, the proxy is taken as it is written, and neither is shown."""
    authority, _ = authority_and_server(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority)
    proxy = "http://us:hunter2-hunter2@proxy.example:3128"
    made = config(AXLE__CA_FILE=str(tmp_path / "ca.pem"), AXLE__PROXY=proxy)
    assert (made.axle.ca_pem, made.axle.proxy) == (authority, proxy)
    assert "hunter2" not in repr(made)


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"not one", "PEM"), (b"\xff", "PEM")])
def test_a_ca_file_that_will_not_do_names_its_variable(tmp_path: Path, content: bytes | None, said: str) -> None:
    """No file, or one without a certificate in it: one line, with the variable and the file."""
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    told = sentence(AXLE__CA_FILE=str(tmp_path / "ca.pem"))
    assert told.startswith(f"{PREFIX}AXLE__CA_FILE: ")
    assert said in told
    assert "ca.pem" in told


@pytest.mark.parametrize(
    "proxy", ["proxy.example:3128", "socks5://hunter2@proxy.example", "http://", "http://a:hunter2"]
)
def test_a_proxy_that_will_not_do_names_its_variable(proxy: str) -> None:
    """No URL, or one of another kind: one line, with the variable and without what may be a password."""
    told = sentence(AXLE__PROXY=proxy)
    assert told.startswith(f"{PREFIX}AXLE__PROXY ")
    assert "hunter2" not in told


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
