"""The command line: verbs only. Each verb imports what it needs when it runs, so that `--help` answers at once.

Results go to stdout, talk to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 configuration, 4 dependency unreachable.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from processor import __version__

app = typer.Typer(
    name="axle-processor",
    help="Kafka stream processor for Axle Energy's Flex Lite: drivers first, pauses second, every event exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)
produce_app = typer.Typer(help="Send one event, once it is valid.", no_args_is_help=True, rich_markup_mode=None)
topics_app = typer.Typer(help="The topics that the processor needs.", no_args_is_help=True, rich_markup_mode=None)
schemas_app = typer.Typer(help="The schemas of the topics.", no_args_is_help=True, rich_markup_mode=None)
dlt_app = typer.Typer(help="The records that were refused.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(produce_app, name="produce")
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")
app.add_typer(dlt_app, name="dlt")
app.add_typer(config_app, name="config")

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


@app.command()
def run(
    workers: Annotated[
        int, typer.Option(help="Processes that share the work, kept running, with one page.", min=1, max=64)
    ] = 1,
    as_worker: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Process events until SIGTERM or Ctrl-C. Settings come from the environment (see `config env`).

    Example: AXLE_PROCESSOR_KAFKA__BOOTSTRAP_SERVERS=broker:9092 axle-processor run
    """
    from processor.cli.run import run_verb

    if workers == 1:
        raise typer.Exit(run_verb(worker=as_worker))
    from processor.cli.supervisor import supervise_verb

    raise typer.Exit(supervise_verb(workers))


@app.command()
def demo(
    headless: Annotated[bool, typer.Option("--headless", help="No live timeline; plain lines only.")] = False,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds; by default at Ctrl-C.")] = None,
    chargers: Annotated[int, typer.Option(help="How many chargers there are.", min=1, max=100_000)] = 40,
    rate: Annotated[float, typer.Option(help="Events a second.", min=0.1, max=10_000)] = 10.0,
    broker: Annotated[str, typer.Option(help="embedded, mock, or HOST:PORT of your own.")] = "embedded",
    fault: Annotated[
        str | None,
        typer.Option(
            help="Let Axle misbehave in the middle third: hang, slow, 401, 403, 404, 409, 429, 500, drip, ..."
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report to this file as JSON.")] = None,
    port: Annotated[int, typer.Option(help="Port of the status page; 0 takes a free one.")] = 0,
    json: Json = False,
) -> None:
    """See it work: a real Kafka, a simulated Axle, traffic, and a charger service that checks the promises.

    Example: axle-processor demo --duration 30 --chargers 40 --report report.json
    """
    from processor.cli.demo import DemoOptions, demo_verb

    options = DemoOptions(headless, duration, chargers, rate, broker, fault, report, port, json)
    raise typer.Exit(demo_verb(options))


@app.command()
def erase(
    site: Annotated[str, typer.Argument(metavar="SITE", help="The platform's id of the household.")],
    timeout_seconds: Annotated[
        float, typer.Option(help="How long to wait for Axle and the processor.", min=1, max=86_400)
    ] = 60,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Only write the order.")] = False,
    json: Json = False,
) -> None:
    """Forget a household: its site is deleted at Axle, then all that is known of it here. A running processor does it.

    Example: axle-processor erase home-1
    """
    from processor.cli.erase import erase_verb

    raise typer.Exit(erase_verb(site, as_json=json, timeout_seconds=timeout_seconds, wait=not no_wait))


@app.command()
def explain(
    charger: Annotated[str, typer.Argument(metavar="CHARGER", help="The platform's id of the charger.")],
    site: Annotated[str | None, typer.Option(help="Its household; without it, it is looked for.")] = None,
    timeout_seconds: Annotated[float, typer.Option(help="How long to read.", min=1, max=86_400)] = 60,
    json: Json = False,
) -> None:
    """Why a car is charging, or why not: the charger's story in sentences, from the topics alone. Changes nothing.

    Example: axle-processor explain charger-1
    """
    from processor.cli.explain import explain_verb

    raise typer.Exit(explain_verb(charger, site_id=site, as_json=json, timeout_seconds=timeout_seconds))


@app.command()
def tail(
    charger: Annotated[list[str] | None, typer.Option(help="Only of this charger; may be given again.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only of this household; may be given again.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Only MODIFIED, WITHDRAWN, ...; may be given again.")] = None,
    start: Annotated[str, typer.Option("--from", help="earliest, latest, 2026-11-23T22:00:00Z, or -2h.")] = "latest",
    count: Annotated[int | None, typer.Option(help="End after so many records.", min=1)] = None,
    ocpp: Annotated[str | None, typer.Option(help="1.6 or 2.0.1: print the message for the charger.")] = None,
    ocpp_option: Annotated[list[str] | None, typer.Option(help="Such as unit=A; may be given again.")] = None,
    json: Json = False,
) -> None:
    """Follow what each charger shall do, one line for each record that is published, until Ctrl-C.

    Example: axle-processor tail --charger charger-1 --from -2h
    """
    from processor.cli.tail import TailOptions, tail_verb

    filters = charger or (), site or (), status or ()
    raise typer.Exit(tail_verb(TailOptions(*filters, start, count, json, ocpp, ocpp_option or ())))


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


@app.command()
def reconcile(
    apply: Annotated[bool, typer.Option("--apply", help="Have who left looked for at Axle, and offboarded.")] = False,
    timeout_seconds: Annotated[
        float, typer.Option(help="How long it may take to read Axle's list and the state.", min=1, max=86_400)
    ] = 600,
    json: Json = False,
) -> None:
    """Compare Axle's list of chargers with what is known here. Changes nothing without --apply.

    Example: axle-processor reconcile
    """
    from processor.cli.reconcile import reconcile_verb

    raise typer.Exit(reconcile_verb(apply=apply, as_json=json, timeout_seconds=timeout_seconds))


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


@app.command()
def version() -> None:
    """Print the version.

    Example: axle-processor version
    """
    typer.echo(__version__)


def main() -> None:
    """The console script's entry."""
    app()
