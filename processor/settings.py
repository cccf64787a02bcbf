"""Every setting of the processor, validated once. `AXLE_PROCESSOR_*` in the environment, nested by `__`.

Nothing else in the program reads the environment. A wrong value becomes a `SettingsWrong` with one line per variable:
what is wrong, and an example. The same table writes the documentation (`axle-processor config env`).
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    SecretStr,
    ValidationError,
    model_validator,
)

PREFIX = "AXLE_PROCESSOR_"


class SettingsWrong(Exception):
    """The environment says something that cannot be. One line per variable."""


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError:
        raise ValueError("must be numbers with commas between them, as in 0,1,10,60") from None


def _rising(minutes: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(minutes)):
        raise ValueError("must rise from number to number, as in 0,1,10,60")
    return minutes


RisingMinutes = Annotated[
    tuple[Annotated[float, Field(ge=0, le=7 * 24 * 60)], ...],
    BeforeValidator(_split),
    AfterValidator(_rising),
    Field(min_length=1, max_length=10),
]
"""In the environment: numbers with commas between them."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Kafka(_Group):
    """Where the brokers are, and who we are there."""

    bootstrap_servers: str = Field("localhost:9092", description="Brokers to begin with, HOST:PORT,HOST:PORT.")
    group_id: str = Field("axle-processor", description="Consumer group; one per installation.")
    instance_id: str | None = Field(
        None,
        description="Stable name of this process, such as an ordinal: a restarted one takes its tasks back at once. "
        "With `--workers` it is what their names begin with.",
    )
    protocol: Literal["auto", "classic", "consumer"] = Field(
        "auto",
        description="Group protocol; auto: consumer where the brokers notice a death within 15 s, else classic.",
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="Where inputs begin that the group never read."
    )
    session_timeout_seconds: float = Field(
        10,
        ge=1,
        le=300,
        description="How long a silent process keeps its tasks before others take them (classic protocol).",
    )
    transaction_timeout_seconds: float = Field(
        8, ge=0.5, le=300, description="How long a dead process's transaction stays open; below the session timeout."
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        "plaintext", description="How to talk to the brokers."
    )
    sasl_mechanism: str | None = Field(None, description="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.")
    sasl_username: str | None = Field(None, description="User name at the brokers.")
    sasl_password: SecretStr | None = Field(None, description="Password at the brokers.")
    ssl_ca_location: str | None = Field(None, description="File with the brokers' CA certificate.")
    extra: Json[dict[str, str]] = Field(
        default_factory=dict,
        repr=False,  # a key's password may be among them
        description='Further librdkafka options, as JSON: {"ssl.key.location": "/keys/client.pem"}.',
    )


class Topics(_Group):
    """What each topic is called."""

    plug_in: str = Field("ev.plug-in.v1", description="Input: cars that were plugged in.")
    user_boost: str = Field("ev.user-boost.v1", description="Input: boosts, cancels and changed schedules.")
    consent_withdrawn: str = Field("ev.consent-withdrawn.v1", description="Input: withdrawals and disconnections.")
    modified_schedule: str = Field("ev.modified-schedule.v1", description="Output: what each charger shall do.")
    enrolment_status: str = Field("ev.enrolment-status.v1", description="Output: where each site stands with Axle.")
    outcomes: str = Field("axle-processor.outcomes.v1", description="Output: what became of each input record.")
    state: str = Field("axle-processor.state.v1", description="Internal: the state's changelog (compacted).")
    reroute: str = Field("axle-processor.reroute.v1", description="Internal: records on their way to their task.")
    dead_letter: str = Field("axle-processor.dead-letter.v1", description="Output: records that cannot be used.")


class Axle(_Group):
    """Where Axle is, and our account there."""

    base_url: str = Field("https://api-sandbox.axle.energy", description="Axle's API; the sandbox unless you say so.")
    username: str = Field("", description="Account name at Axle.")
    password: SecretStr = Field(SecretStr(""), description="Password at Axle.")
    password_file: Path | None = Field(None, description="File with the password, instead of `PASSWORD`.")
    ca_file: Path | None = Field(
        None, description="File with a CA certificate (PEM) that Axle's is checked against, besides the known ones."
    )
    proxy: SecretStr | None = Field(
        None, description="Proxy for calls to Axle, http://HOST:PORT. `HTTPS_PROXY` and the like mean nothing here."
    )
    deadline_seconds: float = Field(10, gt=0, le=120, description="Total time that one call may take.")
    calls_max: int = Field(64, ge=1, le=2000, description="Calls that may be under way at once, at most.")
    calls_per_second: float | None = Field(
        None, gt=0, le=10_000, description="Calls that may begin in a second; none: as many as Axle answers well."
    )
    reconcile_hours: float | None = Field(
        None,
        ge=0.1,
        le=720,
        description="How often, more or less, each process holds Axle's list of chargers against its own tasks, and "
        "has who left here looked for there; none: never (`axle-processor reconcile` does it by hand).",
    )
    give_up_after_seconds: float | None = Field(
        None, ge=1, description="Stop asking after this long; by default as long as a pause is still possible."
    )


class Pauses(_Group):
    """Which of Axle's answers may reach a charger."""

    min_minutes: float = Field(
        5, ge=0.1, description="Shorter pauses, and shorter charging between pauses, are dropped."
    )
    max_minutes: float = Field(60, ge=0.1, description="An answer with a longer pause is rejected.")
    total_max_minutes: float = Field(120, ge=0.1, description="Pauses of one session, in all.")
    count_max: int = Field(3, ge=1, description="Pauses of one session, how many.")
    lead_seconds: float = Field(60, ge=0, description="No pause begins sooner than this after it was decided.")


class Onboarding(_Group):
    """How households come to Axle, and how they leave."""

    form: Literal["guide", "upsert"] = Field(
        "guide",
        description="Axle's call for a new charger: guide (the Flex Lite guide's), or upsert (newer, safe to repeat).",
    )
    on_withdrawal: Literal["offboard", "unenrol"] = Field(
        "offboard",
        description="What Axle is told when a household withdraws: offboard (delete the site and its chargers), or "
        "unenrol (stop the pauses, keep site and payments; needs the form upsert).",
    )
    elsewhere: bool = Field(
        default=False,
        description="Whether others onboard chargers too: then one that we do not know is looked up at Axle.",
    )
    life_hours: float = Field(
        24,
        ge=0.1,
        le=720,
        description="An onboarding that came to no end in this time is dropped, its personal data with it.",
    )
    not_found_hours: float = Field(
        24, ge=0.1, le=720, description="How long a charger that Axle did not know is not looked up again."
    )
    look_up_minutes: RisingMinutes = Field(
        (0, 1, 10, 60),
        description="A household withdrew before Axle answered its onboarding: when to look for what Axle made of it, "
        "in minutes after the withdrawal. When the last one finds nothing, nothing is there.",
    )


class Questions(_Group):
    """How often one charger's events may lead to a question to Axle; wishes are published at once in any case."""

    every_seconds: float = Field(
        5, ge=0, le=3600, description="One question for each charger in this time, in the long run; 0: no limit."
    )
    at_once_max: int = Field(
        30, ge=1, le=10_000, description="Questions for one charger in one go, before they have to wait."
    )


class Boosts(_Group):
    """How a driver's boost is understood."""

    before_plug_in_minutes: float = Field(
        5, ge=0, le=1440, description="A boost up to this long before a plug-in belongs to it: drivers tap first."
    )
    open_end_hours: float = Field(12, ge=0.1, le=720, description="How long a boost without an end lasts.")
    max_hours: float = Field(
        48, ge=0.1, le=720, description="A boost that ends later than this after it began is cut to it."
    )


class Sites(_Group):
    """How large a home may be."""

    chargers_max: int = Field(
        64, ge=1, le=1000, description="Chargers of one site; a driver at one more is published to, but never paused."
    )


class Inputs(_Group):
    """What makes an input record valid."""

    age_max_days: float = Field(
        30, ge=0.1, le=3650, description="A driver's action that is older is refused; a withdrawal never is."
    )
    ahead_max_minutes: float = Field(
        5, ge=0, le=1440, description="A time further ahead of the broker's clock counts as that clock's time."
    )
    schedule_max_hours: float = Field(
        48, ge=0.1, le=720, description="A schedule, from its first start to its last end."
    )
    schedule_blocks_max: int = Field(300, ge=1, le=10_000, description="Blocks of one schedule, once merged.")
    breadcrumb_file: Path | None = Field(
        None,
        description="File of this process alone (volatile is fine) that tells the next one which record it died of: "
        "after three times that record goes to the dead letters unread. Off when unset.",
    )


class State(_Group):
    """What is written to the state topic."""

    write_version: int | None = Field(
        None,
        ge=1,
        description="Version of the states that are written; by default the one before this release's newest, so that "
        "a rolling deploy can go either way. Raise it once no older release runs.",
    )


class SchemaRegistry(_Group):
    """The schema registry, where there is one."""

    url: str | None = Field(
        None,
        description="Schema registry with Confluent's API. Where it is set, records are read and written in its "
        "framing, with the ids of its subjects TOPIC-value; else in Avro single-object encoding.",
    )
    username: str | None = Field(None, description="Account name at the schema registry.")
    password: SecretStr = Field(SecretStr(""), description="Password at the schema registry.")
    ca_file: Path | None = Field(None, description="File with the schema registry's CA certificate (PEM).")


class Http(_Group):
    """Health, metrics and the status page."""

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")


class Log(_Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged.")
    format: Literal["auto", "console", "json"] = Field("auto", description="auto: console on a terminal, else JSON.")


class Privacy(_Group):
    """Keys for what must be compared but not be known."""

    key: SecretStr = Field(
        SecretStr("axle-processor"),
        description="Key of the fingerprints that onboardings leave of their MPANs. Set your own, the same everywhere.",
    )


class Settings(_Group):
    """All settings. Build it with `load`."""

    environment: str = Field("default", description="Name of this installation; part of the CloudEvents source.")
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    axle: Axle = Axle()
    pauses: Pauses = Pauses()
    questions: Questions = Questions()
    boosts: Boosts = Boosts()
    inputs: Inputs = Inputs()
    sites: Sites = Sites()
    onboarding: Onboarding = Onboarding()
    state: State = State()
    schema_registry: SchemaRegistry = SchemaRegistry()
    http: Http = Http()
    log: Log = Log()
    privacy: Privacy = Privacy()

    @model_validator(mode="after")
    def _relations(self) -> "Settings":
        broken = list(self._broken_relations())
        if broken:
            raise ValueError("\n".join(broken))
        return self

    def _broken_relations(self) -> Iterator[str]:
        pauses, onboarding = self.pauses, self.onboarding
        if self.kafka.transaction_timeout_seconds >= self.kafka.session_timeout_seconds:
            yield f"{PREFIX}KAFKA__TRANSACTION_TIMEOUT_SECONDS must be below {PREFIX}KAFKA__SESSION_TIMEOUT_SECONDS"
        if self.kafka.protocol == "consumer" and self.kafka.instance_id:
            yield (
                f"{PREFIX}KAFKA__PROTOCOL=consumer cannot be had with {PREFIX}KAFKA__INSTANCE_ID: under it a restarted "
                "process would wait for its own session to end; take auto or classic, or no instance id"
            )
        if not pauses.min_minutes <= pauses.max_minutes <= pauses.total_max_minutes:
            yield (
                f"{PREFIX}PAUSES__MIN_MINUTES must be at most {PREFIX}PAUSES__MAX_MINUTES, "
                f"and that at most {PREFIX}PAUSES__TOTAL_MAX_MINUTES"
            )
        if self.boosts.open_end_hours > self.boosts.max_hours:
            yield f"{PREFIX}BOOSTS__OPEN_END_HOURS must be at most {PREFIX}BOOSTS__MAX_HOURS"
        if onboarding.on_withdrawal == "unenrol" and onboarding.form != "upsert":
            yield (
                f"{PREFIX}ONBOARDING__ON_WITHDRAWAL=unenrol needs {PREFIX}ONBOARDING__FORM=upsert: "
                "the guide's form cannot enrol such a household again"
            )


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings that the environment gives. Raises SettingsWrong."""
    known = {name for name, _, _ in variables()}
    present = dict(os.environ if environ is None else environ)
    problems = [
        f"{name} is not a setting{_did_you_mean(name, known)}"
        for name in present
        if name.startswith(PREFIX) and name not in known
    ]
    if problems:
        raise SettingsWrong("\n".join(problems))
    try:
        return Settings.model_validate(_nested(present))
    except ValidationError as error:
        lines = dict.fromkeys(_line(problem) for problem in error.errors())
        raise SettingsWrong("\n".join(lines)) from None


def variables() -> Iterator[tuple[str, str, Any]]:
    """Every variable: its name, what it is for, its default, as it would be written."""
    for name, field in Settings.model_fields.items():
        model = type(field.default)
        if isinstance(field.default, _Group):
            for inner, inner_field in model.model_fields.items():
                default = inner_field.get_default(call_default_factory=True)
                yield f"{PREFIX}{name}__{inner}".upper(), inner_field.description or "", _written(default)
        else:
            yield f"{PREFIX}{name}".upper(), field.description or "", field.default


def _written(default: object) -> object:
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(f"{each:g}" for each in default) if isinstance(default, tuple) else default


def _nested(environ: Mapping[str, str]) -> dict[str, Any]:
    """The environment as nested values; `extra` is JSON. An empty variable counts as one that is not set."""
    values: dict[str, Any] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX) or not text:
            continue
        group, _, inner = name.removeprefix(PREFIX).lower().partition("__")
        if inner:
            values.setdefault(group, {})[inner] = text
        else:
            values[group] = text
    return values


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else "; see `axle-processor config env`"


def _line(problem: Any) -> str:
    where = "__".join(problem["loc"][:2]).upper()  # what is inside `extra` has no variable of its own
    message = str(problem["msg"]).removeprefix("Value error, ")
    return f"{PREFIX}{where}: {message}" if where else message
