"""The command line: verbs only. Each verb imports what it needs when it runs, so that `--help` answers at once.

Results go to stdout, talk to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 configuration, 4 dependency unreachable.
"""

from pathlib import Path
from typing import Annotated

import typer

from processor import __version__
from processor.cli.grouped import Json, config_app, dlt_app, produce_app, schemas_app, topics_app

app = typer.Typer(
    name="axle-processor",
    help="Kafka stream processor for Axle Energy's Flex Lite: drivers first, pauses second, every event exactly once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)
app.add_typer(produce_app, name="produce")
app.add_typer(topics_app, name="topics")
app.add_typer(schemas_app, name="schemas")
app.add_typer(dlt_app, name="dlt")
app.add_typer(config_app, name="config")


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


@app.command()
def traffic(
    chargers: Annotated[int, typer.Option(help="How many chargers there are.", min=1, max=100_000)] = 40,
    rate: Annotated[float, typer.Option(help="Events a second.", min=0.01, max=10_000)] = 2.0,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds; by default at Ctrl-C.")] = None,
) -> None:
    """Send invented events to the topics of the settings, beside a simulated Axle, until Ctrl-C.

    Example: AXLE_PROCESSOR_AXLE__BASE_URL=http://127.0.0.1:8090 axle-processor traffic --rate 5
    """
    from processor.cli.traffic import TrafficOptions, traffic_verb

    raise typer.Exit(traffic_verb(TrafficOptions(chargers, rate, duration)))


@app.command()
def version() -> None:
    """Print the version.

    Example: axle-processor version
    """
    typer.echo(__version__)


def main() -> None:
    """The console script's entry."""
    app()
