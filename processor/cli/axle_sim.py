"""The command `axle-sim`: the simulated Axle as a process of its own.

Here lives the reading of options and the life of the process: start, one line with the URL, stop on a signal. What
the simulator does is in `processor/demo/axle.py`, imported only when the command really runs. The idea: stdout
carries the URL and nothing else, so a script can read one line and go on.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from processor.shell.exits import EXIT_CONFIGURATION, EXIT_UNREACHABLE

if TYPE_CHECKING:
    from processor.demo.axle import SimSettings

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes any free one.")] = 0,
    faults: Annotated[Path | None, typer.Option(help="JSON list of fault rules to start with.")] = None,
    calls: Annotated[Path | None, typer.Option(help="File that gets one JSON line a call.")] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal ids, pauses and faults.")] = 0,
    username: Annotated[str | None, typer.Option(help="The only user name that signs in; any by default.")] = None,
    password: Annotated[str | None, typer.Option(help="The only password that signs in; any by default.")] = None,
    token_life_seconds: Annotated[float, typer.Option(min=0.001, help="Life of an access token.")] = 3600.0,
    pause_minutes: Annotated[int, typer.Option(min=1, max=1440, help="Length of a pause.")] = 30,
    pause_share: Annotated[float, typer.Option(min=0, max=1, help="Share of questions with a pause.")] = 0.67,
    not_eligible: Annotated[list[str] | None, typer.Option(help="MPAN to refuse; may be repeated.")] = None,
) -> None:
    """A simulated Axle API for tests: sites, chargers, pauses, and faults on demand.

    Prints its URL and serves until SIGINT or SIGTERM. Faults are replaced through PUT /_sim/faults ([] heals),
    calls are listed by GET /_sim/calls?since=N, and what it holds by GET /_sim/world.
    """
    from processor.demo.axle import FaultsError, ListenError, SimSettings, read_faults

    try:
        rules = read_faults(faults.read_bytes()) if faults else []
        settings = SimSettings(
            host=host,
            port=port,
            seed=seed,
            username=username,
            password=password,
            token_life_seconds=token_life_seconds,
            pause_minutes=pause_minutes,
            pause_share=pause_share,
            not_eligible=frozenset(not_eligible or ()),
            faults=rules,
            calls_file=calls,
        )
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(_serve(settings))
    except FaultsError as error:
        raise _stopped(f"{error} (--faults {faults})", EXIT_CONFIGURATION) from error
    except ListenError as error:
        raise _stopped(str(error), EXIT_UNREACHABLE) from error
    except OSError as error:
        sentence = f"cannot use {error.filename} ({error.strerror}): check --faults and --calls"
        raise _stopped(sentence, EXIT_CONFIGURATION) from error


async def _serve(settings: "SimSettings") -> None:
    from processor.demo.axle import AxleSimulator

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AxleSimulator(settings) as simulator:
        typer.echo(simulator.url)
        await stop.wait()


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    # With uvloop a call costs about a third less; it is an extra of the package, so it may be missing.
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _stopped(sentence: str, code: int) -> typer.Exit:
    typer.echo(f"axle-sim: {sentence}.", err=True)
    return typer.Exit(code)


def main() -> None:
    """The entry point of the command."""
    app()


if __name__ == "__main__":
    main()
