"""Every setting of the processor, validated once. `AXLE_PROCESSOR_*` in the environment, nested by `__`.

Nothing else in the program reads the environment. A wrong value becomes a `SettingsWrong` with one line per variable:
what is wrong, and an example. The same table writes the documentation (`axle-processor config env`).
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, ValidationError, model_validator

PREFIX = "AXLE_PROCESSOR_"


class SettingsWrong(Exception):
    """The environment says something that cannot be. One line per variable."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Kafka(_Group):
    """Where the brokers are, and who we are there."""

    bootstrap_servers: str = Field("localhost:9092", description="Brokers to begin with, HOST:PORT,HOST:PORT.")
    group_id: str = Field("axle-processor", description="Consumer group; one per installation.")
    instance_id: str | None = Field(
        None,
        description="Stable name of this process, such as an ordinal: a restarted one takes its tasks back at once.",
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="Where inputs begin that the group never read."
    )
    session_timeout_seconds: float = Field(
        10, ge=1, le=300, description="How long a silent process keeps its tasks before others take them."
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
    deadline_seconds: float = Field(10, gt=0, le=120, description="Total time that one call may take.")
    calls_max: int = Field(64, ge=1, le=2000, description="Calls that may be under way at once.")
    give_up_after_seconds: float | None = Field(
        None, gt=0, description="Stop asking after this long; by default as long as a pause is still possible."
    )


class Pauses(_Group):
    """Which of Axle's answers may reach a charger."""

    min_minutes: float = Field(5, gt=0, description="Shorter pauses, and shorter charging between pauses, are dropped.")
    max_minutes: float = Field(60, gt=0, description="An answer with a longer pause is rejected.")
    total_max_minutes: float = Field(120, gt=0, description="Pauses of one session, in all.")
    count_max: int = Field(3, ge=1, description="Pauses of one session, how many.")
    lead_seconds: float = Field(60, ge=0, description="No pause begins sooner than this after it was decided.")


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
    http: Http = Http()
    log: Log = Log()
    privacy: Privacy = Privacy()

    @model_validator(mode="after")
    def _relations(self) -> "Settings":
        if self.kafka.transaction_timeout_seconds >= self.kafka.session_timeout_seconds:
            raise ValueError(
                f"{PREFIX}KAFKA__TRANSACTION_TIMEOUT_SECONDS must be below {PREFIX}KAFKA__SESSION_TIMEOUT_SECONDS"
            )
        if not self.pauses.min_minutes <= self.pauses.max_minutes <= self.pauses.total_max_minutes:
            raise ValueError(
                f"{PREFIX}PAUSES__MIN_MINUTES must be at most {PREFIX}PAUSES__MAX_MINUTES, "
                f"and that at most {PREFIX}PAUSES__TOTAL_MAX_MINUTES"
            )
        return self


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
        lines = [_line(problem) for problem in error.errors()]
        raise SettingsWrong("\n".join(lines)) from None


def variables() -> Iterator[tuple[str, str, Any]]:
    """Every variable: its name, what it is for, its default."""
    for name, field in Settings.model_fields.items():
        model = type(field.default)
        if isinstance(field.default, _Group):
            for inner, inner_field in model.model_fields.items():
                default = inner_field.get_default(call_default_factory=True)
                yield f"{PREFIX}{name}__{inner}".upper(), inner_field.description or "", default
        else:
            yield f"{PREFIX}{name}".upper(), field.description or "", field.default


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
