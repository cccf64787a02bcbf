"""The command line: verbs only. Each verb imports what it needs when it runs, so that `--help` answers at once.

Results go to stdout, talk to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 3 configuration, 4 dependency unreachable.
"""

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
topics_app = typer.Typer(help="The topics that the processor needs.", no_args_is_help=True, rich_markup_mode=None)
config_app = typer.Typer(help="The settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(topics_app, name="topics")
app.add_typer(config_app, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command()
def run() -> None:
    """Process events until SIGTERM or Ctrl-C. Settings come from the environment (see `config env`).

    Example: AXLE_PROCESSOR_KAFKA__BOOTSTRAP_SERVERS=broker:9092 axle-processor run
    """
    from processor.cli.run import run_verb

    raise typer.Exit(run_verb())


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
