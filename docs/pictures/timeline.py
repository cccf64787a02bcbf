"""Draws `timeline.svg`, the picture of the demo in the README: `python docs/pictures/timeline.py`.

It is the demo's own timeline, fed by a rehearsal: a seeded story through the real core, on a clock of its own. So the
picture is the same each time, and a test can tell when it is out of date. Bars are drawn as shapes and every word is
placed by itself, so it looks the same whatever fonts a reader has.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.segment import Segment
from rich.style import Style

from processor.demo.rehearsal import Rehearsal
from processor.demo.timeline import BOOST, CHARGE, PAUSE, Frame, draw
from processor.demo.verifier import verify

WIDTH, HEIGHT = 104, 27
TARGET = Path(__file__).with_name("timeline.svg")
EVENING_MS = round(datetime(2026, 1, 15, 18, 40, tzinfo=UTC).timestamp() * 1000)

CELL, LINE, MARGIN, BAR_HEIGHT = 8.4, 20.0, 20.0, 15.0
FONT = "ui-monospace,SFMono-Regular,'SF Mono',Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace"
COLOURS = {
    "green": "#3fb950",
    "yellow": "#e3b341",
    "bright_cyan": "#39c5cf",
    "magenta": "#bc8cff",
    "red": "#f85149",
}
TEXT, DIM, BACK, EDGE = "#e6edf3", "#8b949e", "#0d1117", "#30363d"
HEIGHTS = {BOOST: BAR_HEIGHT, CHARGE: 9.0, PAUSE: 2.5}


def picture() -> str:
    """The SVG."""
    rehearsal = Rehearsal(16, EVENING_MS, seed=7)
    rehearsal.play(60, every_ms=1_500)
    frame = Frame(
        now_ms=rehearsal.now_ms,
        now_seconds=rehearsal.seconds,
        broker="127.0.0.1:20079 (real Apache Kafka)",
        page="http://127.0.0.1:8080",
        elapsed_seconds=rehearsal.seconds,
        findings=len(verify(rehearsal.history).findings),
    )
    console = Console(width=WIDTH, color_system="truecolor", force_terminal=True)
    lines = console.render_lines(draw(rehearsal.scene, frame, WIDTH, HEIGHT, UTC), pad=False)
    width, height = WIDTH * CELL + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    shapes = "\n".join(shape for number, line in enumerate(lines) for shape in _line(line, MARGIN + number * LINE))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'aria-label="The demo: what each charger does in the next ten hours, and why">\n'
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="8" fill="{BACK}" stroke="{EDGE}"/>\n'
        f'<g font-family="{FONT}" font-size="14" fill="{TEXT}">\n{shapes}\n</g>\n</svg>\n'
    )


def _line(segments: list[Segment], top: float) -> Iterator[str]:
    column = 0
    for segment in segments:
        style = segment.style or Style()
        for kind, run in groupby(segment.text, key=lambda mark: mark if mark in HEIGHTS else ""):
            text = "".join(run)
            left = MARGIN + column * CELL
            column += len(text)
            yield from (_bar(kind, left, top, len(text), style) if kind else _words(text, left, top, style))


def _bar(kind: str, left: float, top: float, cells: int, style: Style) -> Iterator[str]:
    height = HEIGHTS[kind]
    y = top + 2 + BAR_HEIGHT - height
    yield f'<rect x="{left:.1f}" y="{y:.1f}" width="{cells * CELL:.1f}" height="{height:g}" fill="{_colour(style)}"/>'


def _words(text: str, left: float, top: float, style: Style) -> Iterator[str]:
    weight = ' font-weight="600"' if style.bold else ""
    for word in re.finditer(r"\S+(?: \S+)*", text):
        x, width = left + word.start() * CELL, len(word.group()) * CELL
        yield (
            f'<text x="{x:.1f}" y="{top + 15:.1f}" textLength="{width:.1f}" fill="{_colour(style)}"{weight}>'
            f"{escape(word.group())}</text>"
        )


def _colour(style: Style) -> str:
    if style.dim:
        return DIM
    return COLOURS.get(style.color.name, TEXT) if style.color else TEXT


if __name__ == "__main__":
    TARGET.write_text(picture())
