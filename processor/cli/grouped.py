"""The verbs that come in groups: produce, topics, schemas, dlt, config. As in `processor.cli`: verbs only.

Each verb imports what it needs when it runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

produce_app = typer.Typer(help="Send one event, once it is valid.", no_args_is_help=True, rich_markup_mode=None)
topics_app = typer.Typer(help="The topics that the processor needs.", no_args_is_help=True, rich_markup_mode=None)
schemas_app = typer.Typer(help="The schemas of the topics.", no_args_is_help=True, rich_markup_mode=None)
dlt_app = typer.Typer(help="The records that were refused.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

File = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The event as JSON; -: stdin. Options replace its fields.")
]
EventId = Annotated[str | None, typer.Option(help="Its id; drawn where there is no FILE.")]
OccurredAt = Annotated[str | None, typer.Option(help="2026-11-23T22:00:00Z, -5m or now, as where there is no FILE.")]
SiteId = Annotated[str | None, typer.Option("--site", help="Your id of the household.")]
ChargerId = Annotated[str | None, typer.Option("--charger", help="Your id of the charger.")]
Schedule = Annotated[list[str] | None, typer.Option(help="A block START/END such as now/+8h; may be given again.")]
RegistryUrl = Annotated[
    str | None, typer.Option("--registry", metavar="URL", help="The schema registry; by default the setting's.")
]
SchemaFolder = Annotated[
    Path | None, typer.Option("--schemas", metavar="DIR", help="Schemas to take instead of this release's.")
]
LetterReason = Annotated[
    list[str] | None, typer.Option("--reason", help="Only bad_id, decode, ...; may be given again.")
]
LetterTopic = Annotated[
    list[str] | None, typer.Option("--topic", help="Only what was read from this topic; may be given again.")
]
LetterSite = Annotated[
    list[str] | None, typer.Option("--site", help="Only of this household or charger; may be given again.")
]
LetterSince = Annotated[str | None, typer.Option("--since", help="Refused since 2026-11-23T22:00:00Z, or -2h.")]
ReadSeconds = Annotated[float, typer.Option("--timeout-seconds", help="How long to read.", min=1, max=86_400)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Send nothing; print the bytes, and what they say.")]


@produce_app.command("plug-in")
def produce_plug_in(
    file: File = None,
    event_id: EventId = None,
    occurred_at: OccurredAt = None,
    site_id: SiteId = None,
    charger_id: ChargerId = None,
    schedule: Schedule = None,
    power_kw: Annotated[float | None, typer.Option(help="What the charger can deliver.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """A car was plugged in. An enrolment, which is personal data, is only taken from a FILE.

    Example: axle-processor produce plug-in --site home-1 --charger charger-1 --schedule now/+8h
    """
    told = {"power_kw": power_kw}
    _produce("PLUG_IN", file, event_id, occurred_at, site_id, charger_id, told, schedule, dry_run, json)


@produce_app.command("user-boost")
def produce_user_boost(
    file: File = None,
    event_id: EventId = None,
    occurred_at: OccurredAt = None,
    site_id: SiteId = None,
    charger_id: ChargerId = None,
    action: Annotated[str | None, typer.Option(help="BOOST, SCHEDULE_CHANGED or BOOST_CANCELLED.")] = None,
    boost_until: Annotated[str | None, typer.Option(help="When the boost ends, such as +2h.")] = None,
    schedule: Schedule = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """A driver boosted, cancelled a boost, or changed the schedule.

    Example: axle-processor produce user-boost --site home-1 --charger charger-1 --action BOOST --boost-until +2h
    """
    told = {"action": action, "boost_until": boost_until}
    _produce("USER_BOOST", file, event_id, occurred_at, site_id, charger_id, told, schedule, dry_run, json)


@produce_app.command("consent-withdrawn")
def produce_consent_withdrawn(
    file: File = None,
    event_id: EventId = None,
    occurred_at: OccurredAt = None,
    site_id: SiteId = None,
    charger_id: ChargerId = None,
    reason: Annotated[str | None, typer.Option(help="CONSENT_WITHDRAWN or CHARGER_DISCONNECTED.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """A household withdrew its consent, or one of its chargers was disconnected.

    Example: axle-processor produce consent-withdrawn --site home-1 --reason CONSENT_WITHDRAWN
    """
    told = {"reason": reason}
    _produce("CONSENT_WITHDRAWN", file, event_id, occurred_at, site_id, charger_id, told, None, dry_run, json)


def _produce(
    kind: str,
    file: Path | None,
    event_id: str | None,
    occurred_at: str | None,
    site_id: str | None,
    charger_id: str | None,
    told: Mapping[str, str | float | None],
    schedule: list[str] | None,
    dry_run: bool,
    json: bool,
) -> None:
    from processor.cli.produce import ProduceOptions, produce_verb
    from processor.core.events import Input

    ids = {"event_id": event_id, "occurred_at": occurred_at, "site_id": site_id, "charger_id": charger_id}
    raise typer.Exit(produce_verb(ProduceOptions(Input(kind), file, {**ids, **told}, dry_run, json, schedule or ())))


@topics_app.command("plan")
def topics_plan(json: Json = False) -> None:
    """Show what `apply` would create, and what differs.

    Example: axle-processor topics plan
    """
    from processor.cli.topics import topics_verb

    raise typer.Exit(topics_verb(apply_changes=False, as_json=json))


@topics_app.command("apply")
def topics_apply(json: Json = False) -> None:
    """Create the topics that are missing. Never deletes and never changes one that is there.

    Example: axle-processor topics apply
    """
    from processor.cli.topics import topics_verb

    raise typer.Exit(topics_verb(apply_changes=True, as_json=json))


@schemas_app.command("check")
def schemas_check(
    registry: RegistryUrl = None,
    against: Annotated[
        list[Path] | None, typer.Option(metavar="DIR", help="Schemas of an earlier release; may be given again.")
    ] = None,
    schemas: SchemaFolder = None,
    json: Json = False,
) -> None:
    """Say which fields of the schemas break whom: records already written, and for outputs their readers.

    Example: axle-processor schemas check --registry http://registry:8081
    """
    from processor.cli.schemas import SchemasOptions, check_verb

    raise typer.Exit(check_verb(SchemasOptions(registry, against or (), schemas, json)))


@schemas_app.command("register")
def schemas_register(
    registry: RegistryUrl = None,
    apply: Annotated[bool, typer.Option("--apply", help="Register what the registry lacks.")] = False,
    schemas: SchemaFolder = None,
    json: Json = False,
) -> None:
    """Show what the registry lacks of the schemas and their rules. Changes nothing without --apply.

    Example: axle-processor schemas register --registry http://registry:8081 --apply
    """
    from processor.cli.schemas import SchemasOptions, register_verb

    raise typer.Exit(register_verb(SchemasOptions(registry, (), schemas, json), apply=apply))


@dlt_app.command("list")
def dlt_list(
    reason: LetterReason = None,
    topic: LetterTopic = None,
    site: LetterSite = None,
    since: LetterSince = None,
    timeout_seconds: ReadSeconds = 60,
    json: Json = False,
) -> None:
    """Say which records were refused: counts by reason, then a line for each. Changes nothing.

    Example: axle-processor dlt list --since -2h --reason bad_id
    """
    from processor.cli.dlt import DltOptions, list_verb

    raise typer.Exit(list_verb(DltOptions(reason or (), topic or (), site or (), since, json, timeout_seconds)))


@dlt_app.command("show")
def dlt_show(
    letter: Annotated[str, typer.Argument(metavar="LETTER", help="PARTITION@OFFSET, as `dlt list` shows it.")],
    timeout_seconds: ReadSeconds = 60,
    json: Json = False,
) -> None:
    """Say why one record was refused, what to do, and what it says. An enrolment in it is personal data.

    Example: axle-processor dlt show 3@17
    """
    from processor.cli.dlt import show_verb

    raise typer.Exit(show_verb(letter, as_json=json, timeout_seconds=timeout_seconds))


@dlt_app.command("replay")
def dlt_replay(
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[LETTER]...", help="PARTITION@OFFSET; by default all that fit.")
    ] = None,
    reason: LetterReason = None,
    topic: LetterTopic = None,
    site: LetterSite = None,
    since: LetterSince = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The one letter's event, corrected, as JSON; -: stdin.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also those that were replayed before.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Send them, all in one transaction.")] = False,
    timeout_seconds: ReadSeconds = 60,
    json: Json = False,
) -> None:
    """Send refused records again, as they are or one of them fixed. Changes nothing without --apply.

    Example: axle-processor dlt replay 3@17 --fix event.json --apply
    """
    from processor.cli.dlt import DltOptions, ReplayHow, replay_verb

    options = DltOptions(reason or (), topic or (), site or (), since, json, timeout_seconds, letters or ())
    raise typer.Exit(replay_verb(options, ReplayHow(apply, again, fix)))


@config_app.command("env")
def config_env(json: Json = False) -> None:
    """Print every environment variable, its default and what it is for.

    Example: axle-processor config env
    """
    from processor.cli.config import config_verb

    raise typer.Exit(config_verb(as_json=json))
