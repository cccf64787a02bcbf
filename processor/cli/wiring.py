"""Settings to values: the one place where the environment's words become what the shell is built from."""

import logging
import ssl
import sys
from typing import Any

import httpx
import structlog

from processor.core.rules import OnboardingForm, Rules, WithdrawalAction
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.settings import Settings, SettingsWrong
from processor.shell.axle_client import AxleAccount
from processor.shell.schema_registry import RegistryAccount
from processor.shell.service import ServiceConfig
from processor.shell.topics import TopicNames
from processor.wire.inputs import InputLimits
from processor.wire.state import WRITABLE_VERSIONS


def service_config(settings: Settings) -> ServiceConfig:
    """What `run` runs. Raises SettingsWrong."""
    reconcile_hours = settings.axle.reconcile_hours
    try:
        return ServiceConfig(
            bootstrap_servers=settings.kafka.bootstrap_servers,
            axle=account_of(settings),
            topics=topic_names(settings),
            group_id=settings.kafka.group_id,
            instance_id=settings.kafka.instance_id,
            environment=settings.environment,
            protocol=settings.kafka.protocol,
            start_from=settings.kafka.start_from,
            session_timeout_ms=round(settings.kafka.session_timeout_seconds * 1000),
            transaction_timeout_ms=round(settings.kafka.transaction_timeout_seconds * 1000),
            calls_max=settings.axle.calls_max,
            calls_per_second=settings.axle.calls_per_second,
            reconcile_seconds=None if reconcile_hours is None else reconcile_hours * 3600,
            http_host=settings.http.host,
            http_port=settings.http.port,
            rules=rules_of(settings),
            limits=limits_of(settings),
            breadcrumb_file=settings.inputs.breadcrumb_file,
            write_version=_write_version(settings),
            connection=connection(settings),
            registry=registry_of(settings),
        )
    except ValueError as error:
        raise SettingsWrong(str(error)) from error


def topic_names(settings: Settings) -> TopicNames:
    """What the topics are called."""
    return TopicNames(**settings.topics.model_dump())


def connection(settings: Settings) -> dict[str, str]:
    """librdkafka's security settings."""
    kafka = settings.kafka
    password = kafka.sasl_password.get_secret_value() if kafka.sasl_password else None
    given = {
        "security.protocol": kafka.security_protocol,
        "sasl.mechanism": kafka.sasl_mechanism,
        "sasl.username": kafka.sasl_username,
        "sasl.password": password,
        "ssl.ca.location": kafka.ssl_ca_location,
    }
    return {**{name: value for name, value in given.items() if value is not None}, **kafka.extra}


def registry_of(settings: Settings) -> RegistryAccount | None:
    """Where the schema registry is, and who we are there; None where there is none."""
    given = settings.schema_registry
    if not given.url:
        return None
    return RegistryAccount(given.url, given.username, given.password.get_secret_value(), given.ca_file)


def account_of(settings: Settings) -> AxleAccount:
    """Where Axle is, and who we are there. Raises SettingsWrong."""
    axle = settings.axle
    password = axle.password.get_secret_value()
    if axle.password_file:
        try:
            password = axle.password_file.read_text().strip()
        except OSError as error:
            raise SettingsWrong(
                f"AXLE_PROCESSOR_AXLE__PASSWORD_FILE: {error.strerror}: {axle.password_file}"
            ) from error
        except UnicodeDecodeError:
            raise SettingsWrong(f"AXLE_PROCESSOR_AXLE__PASSWORD_FILE: not UTF-8 text: {axle.password_file}") from None
    if not axle.username or not password:
        raise SettingsWrong(
            "AXLE_PROCESSOR_AXLE__USERNAME and AXLE_PROCESSOR_AXLE__PASSWORD (or __PASSWORD_FILE) must be set: "
            "the account that Axle gave you; `axle-sim` accepts any"
        )
    ca_pem, proxy = _ca_pem(settings), _proxy(settings)
    try:
        return AxleAccount(axle.base_url, axle.username, password, axle.deadline_seconds, ca_pem=ca_pem, proxy=proxy)
    except (ValueError, httpx.InvalidURL) as error:
        raise SettingsWrong(f"AXLE_PROCESSOR_AXLE__BASE_URL: {error}") from error


def _ca_pem(settings: Settings) -> bytes | None:
    path = settings.axle.ca_file
    if path is None:
        return None
    name = "AXLE_PROCESSOR_AXLE__CA_FILE"
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise SettingsWrong(f"{name}: {error.strerror}: {path}") from error
    try:
        ssl.create_default_context(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise SettingsWrong(f"{name}: no certificate in PEM: {path}") from None
    return pem


def _proxy(settings: Settings) -> str | None:
    """A password may stand in it, so what is wrong is told without quoting it."""
    if settings.axle.proxy is None:
        return None
    text = settings.axle.proxy.get_secret_value()
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsWrong("AXLE_PROCESSOR_AXLE__PROXY must be a URL, as in http://proxy.example:3128")
    return text


def rules_of(settings: Settings) -> Rules:
    """What is decided by. Raises SettingsWrong, and ValueError where two settings collide."""
    pauses, questions, onboarding = settings.pauses, settings.questions, settings.onboarding
    give_up = settings.axle.give_up_after_seconds
    secret = settings.privacy.key.get_secret_value().encode()
    if not 0 < len(secret) <= 64:
        raise SettingsWrong(f"AXLE_PROCESSOR_PRIVACY__KEY must have 1 to 64 bytes, not {len(secret)}")
    return Rules(
        pause_min_ms=round(pauses.min_minutes * MINUTE_MS),
        pause_max_ms=round(pauses.max_minutes * MINUTE_MS),
        pauses_total_max_ms=round(pauses.total_max_minutes * MINUTE_MS),
        pauses_count_max=pauses.count_max,
        lead_ms=round(pauses.lead_seconds * 1000),
        give_up_after_ms=None if give_up is None else round(give_up * 1000),
        boost_before_plug_in_ms=round(settings.boosts.before_plug_in_minutes * MINUTE_MS),
        question_every_ms=round(questions.every_seconds * 1000),
        questions_at_once_max=questions.at_once_max,
        chargers_max=settings.sites.chargers_max,
        onboarding_form=OnboardingForm(onboarding.form),
        withdrawal_action=WithdrawalAction(onboarding.on_withdrawal),
        onboarding_elsewhere=onboarding.elsewhere,
        onboarding_life_ms=round(onboarding.life_hours * HOUR_MS),
        not_found_memory_ms=round(onboarding.not_found_hours * HOUR_MS),
        look_up_delays_ms=tuple(round(minutes * MINUTE_MS) for minutes in onboarding.look_up_minutes),
        secret=secret,
    )


def limits_of(settings: Settings) -> InputLimits:
    """What an input may say. Raises ValueError where two settings collide."""
    inputs, boosts = settings.inputs, settings.boosts
    return InputLimits(
        age_max_ms=round(inputs.age_max_days * 24 * HOUR_MS),
        ahead_max_ms=round(inputs.ahead_max_minutes * MINUTE_MS),
        schedule_span_max_ms=round(inputs.schedule_max_hours * HOUR_MS),
        schedule_blocks_max=inputs.schedule_blocks_max,
        boost_open_end_ms=round(boosts.open_end_hours * HOUR_MS),
        boost_max_ms=round(boosts.max_hours * HOUR_MS),
    )


def _write_version(settings: Settings) -> int:
    """The version before this release's newest, until somebody says that no older release runs any more."""
    version = settings.state.write_version or WRITABLE_VERSIONS[0]
    if version not in WRITABLE_VERSIONS:
        oldest, newest = WRITABLE_VERSIONS[0], WRITABLE_VERSIONS[-1]
        raise SettingsWrong(
            f"AXLE_PROCESSOR_STATE__WRITE_VERSION must be {oldest} or {newest}, the versions that this release writes"
        )
    return version


def set_up_log(level: str, form: str, worker: int | None = None) -> None:
    """Structured logs on stderr: for people on a terminal, JSON lines elsewhere; each line names the `worker`."""
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    tail = [structlog.processors.format_exc_info, renderer] if as_json else [renderer]

    def named(_: Any, __: str, event: Any) -> Any:
        return event if worker is None else {**event, "worker": worker}

    structlog.configure(
        processors=[
            named,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *tail,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
