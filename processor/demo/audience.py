"""Who watches the demo: a terminal that shows a live picture, or a stream that gets plain lines.

Here lives when something is shown, and the summary at the end; what it looks like is `timeline.py`'s. The idea: both
kinds of audience are told the same things at the same times, and each shows what it can.
"""

import shutil
import textwrap
from collections.abc import Mapping
from itertools import islice
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live

from processor.demo.scene import Scene
from processor.demo.timeline import Frame, draw, line, progress, told_in_words

PROGRESS_SECONDS = 5.0
_PROMISES = (
    ("driver_wins", "the driver wins", "pauses only as Axle answered"),
    (
        "withdrawn_is_withdrawn",
        "withdrawn is withdrawn",
        "homes gone at Axle: {offboarded_at_axle}, no pause after",
    ),
    ("silence_means_charge", "silence means charge", "wishes were out before Axle was asked"),
    ("one_outcome", "one outcome each", "events {inputs}, lost {lost}, duplicates {duplicates}"),
)
_COMMAND = "axle-processor" if shutil.which("axle-processor") else ".venv/bin/axle-processor"
_NEXT = (
    (f"{_COMMAND} demo --fault hang", "while Axle hangs"),
    (f"{_COMMAND} demo --broker HOST:PORT", "on a Kafka of yours"),
    (f"{_COMMAND} config env", "every setting"),
)
_COMMAND_WIDTH = max(len(command) for command, _ in _NEXT)


class Audience(Protocol):
    """Somebody who watches a run."""

    def say(self, sentence: str) -> None:
        """Tell how the start goes, and what one should know."""

    def show(self, scene: Scene, frame: Frame) -> None:
        """Show how things are; called several times a second."""

    def end(self) -> None:
        """The show is over; what is printed now stays."""


class Lines:
    """Plain lines on a stream: progress every few seconds and, where `each_event`, one line an event."""

    def __init__(self, stream: TextIO, *, each_event: bool) -> None:
        self._stream = stream
        self._each_event = each_event
        self._told = 0
        self._next_progress = PROGRESS_SECONDS

    def say(self, sentence: str) -> None:
        """One line."""
        print(sentence, file=self._stream, flush=True)

    def show(self, scene: Scene, frame: Frame) -> None:
        """What is new since the last time."""
        fresh = min(scene.told - self._told, len(scene.news))
        self._told = scene.told
        if self._each_event:
            for news in islice(scene.news, len(scene.news) - fresh, None):
                self.say(line(news).strip())
        if frame.elapsed_seconds >= self._next_progress:
            self._next_progress += PROGRESS_SECONDS
            self.say(progress(scene, frame))

    def end(self) -> None:
        """Nothing is left open."""


class Picture:
    """A live picture on the whole terminal; the screen is as it was when it is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, sentence: str) -> None:
        """One line, above the picture to come."""
        self._console.print(sentence, highlight=False, markup=False)

    def show(self, scene: Scene, frame: Frame) -> None:
        """Draw it."""
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        width, height = self._console.size
        self._live.update(draw(scene, frame, width, height), refresh=True)

    def end(self) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def summary(report: Mapping[str, Any], report_file: str | None = None) -> str:
    """What the run came to, in plain words for a terminal of 80 columns."""
    events = report["events"]
    told = {**report, "inputs": sum(events.values())}
    broker = "a real Kafka" if report["broker"] == "kafka" else "a mock of Kafka"
    put = told_in_words(events["plug-in"], events["user-boost"], events["consent-withdrawn"])
    lines = [
        f"{report['duration_s']:.0f} s on {broker}: {put}.",
        "",
        *_published(report["published"]),
        *(f"  first word to a {kind}: {_latency(report['latency_ms'][kind])}" for kind in ("user-boost", "plug-in")),
        "",
    ]
    for name, words, proof in _PROMISES:
        broken = report["violations"][name]
        verdict = "not checked" if broken is None else "kept" if broken == 0 else f"BROKEN {broken}x"
        lines.append(f"  {words:<24}{verdict:<13}{proof.format(**told) if broken == 0 else ''}".rstrip())
    lines += [f"    {finding}" for finding in report["findings"][:10]]
    lines += ["", f"  report: {report_file}"] if report_file else []
    lines += ["", "Try next:", *(f"  {command:<{_COMMAND_WIDTH}}  {words}" for command, words in _NEXT)]
    return "\n".join(lines)


def _published(published: Mapping[str, int]) -> list[str]:
    ordered = sorted(published.items(), key=lambda item: -item[1])
    told = ", ".join(f"{count} {status}" for status, count in ordered)
    return textwrap.wrap(f"published: {told or 'nothing'}", 78, initial_indent="  ", subsequent_indent="             ")


def _latency(figures: Mapping[str, int | None]) -> str:
    if figures["p50"] is None:
        return "none was asked for"
    return f"half within {figures['p50']} ms, 99 % within {figures['p99']} ms"
