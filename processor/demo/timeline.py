"""The timeline: the demo on a terminal, as a live picture or as plain lines.

Here lives how things look; what is going on is `scene.py`'s. The idea: height says what a charger does, colour only
says it again. A tall block is a boost, a lower one is charging, a thin line is a pause, nothing is nothing, so the
picture reads the same without colours.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from itertools import groupby, islice

from rich.console import Group
from rich.text import Text

from processor.core.events import Input
from processor.core.outputs import Result
from processor.core.schedule import HOUR_MS, Schedule
from processor.demo.charger import Doing
from processor.demo.scene import THEN, News, Row, Scene

BOOST, CHARGE, PAUSE, IDLE = "█", "▅", "▁", " "
_STYLES = {BOOST: "bright_cyan", CHARGE: "green", PAUSE: "bold yellow", IDLE: ""}
_SPAN_MS = 10 * HOUR_MS
_NAME_WIDTH, _DOING_WIDTH, _NOTE_WIDTH, _WHAT_WIDTH = 8, 10, 22, 25
_WIDE = 100
_ROOMY = 70
_NEWS_SHARE = 0.3
_HEADER_LINES = 9
PROMISES = "the driver wins, withdrawn is withdrawn, silence means charge, one outcome each"
_TOLD = {
    Result.MODIFIED: "yellow",
    Result.UNCHANGED: "green",
    Result.WITHDRAWN: "magenta",
    Result.OFFBOARDED: "magenta",
    Result.INVALID: "red",
    Result.REJECTED: "red",
    Result.UNKNOWN_ACTION: "red",
}
_DOES = {Doing.CHARGING: "green", Doing.PAUSED: "yellow", Doing.WAITING: "dim", Doing.FREE: "dim"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What a picture says beside the scene: where things run, since when, and how Axle behaves.

    `findings`: how many broken promises were found so far; None: not looked yet.
    """

    now_ms: int
    now_seconds: float
    broker: str
    page: str | None
    elapsed_seconds: float
    duration_seconds: float | None = None
    fault: str | None = None
    findings: int | None = None
    open_events: int = 0


def draw(scene: Scene, frame: Frame, width: int, height: int, zone: tzinfo | None = None) -> Group:
    """The whole picture, `width` columns by at most `height` lines; times in `zone`, by default the machine's."""
    rows = scene.rows(frame.now_ms)
    room = max(height - _HEADER_LINES, 2)
    news_lines = max(1, min(round(room * _NEWS_SHARE), 12))
    shown = rows[: max(room - news_lines, 1)]
    news = list(islice(reversed(scene.news), news_lines))
    return Group(
        *_header(scene, frame, width),
        _axis(frame.now_ms, width, zone, len(rows) - len(shown)),
        *(_row(row, frame.now_ms, width, zone) for row in shown),
        _legend(width),
        *(_cut(_news_text(one, zone), width) for one in reversed(news)),
    )


def line(news: News, zone: tzinfo | None = None) -> str:
    """One event and what came of it, as one plain line."""
    return _news_text(news, zone).plain


def progress(scene: Scene, frame: Frame) -> str:
    """Where the run is, as one plain line."""
    until = f" of {frame.duration_seconds:.0f}" if frame.duration_seconds is not None else ""
    put = told_in_words(*(scene.events[kind] for kind in Input))
    fault = f"; Axle's fault: {frame.fault}" if frame.fault else ""
    return (
        f"{frame.elapsed_seconds:5.1f}{until} s  in: {put}  "
        f"out: {scene.published} schedules, {scene.outcomes.total()} outcomes, {frame.open_events} open{fault}"
    )


def told_in_words(plug_ins: int, boosts: int, withdrawals: int) -> str:
    """How many events went in."""
    counted = ((plug_ins, "plug-in"), (boosts, "boost or change"), (withdrawals, "withdrawal"))
    plurals = {"boost or change": "boosts and changes"}
    return ", ".join(f"{n} {word if n == 1 else plurals.get(word, word + 's')}" for n, word in counted)


def _header(scene: Scene, frame: Frame, width: int) -> Iterable[Text]:
    into, out = scene.rate(frame.now_seconds)
    put = told_in_words(*(scene.events[kind] for kind in Input))
    wait = scene.typical_wait_ms
    until = f" of {_minutes(frame.duration_seconds)}" if frame.duration_seconds is not None else ""
    clock = f"{_minutes(frame.elapsed_seconds)}{until}"
    title = " axle-processor demo"
    yield Text().append(title, "bold").append(clock.rjust(width - len(title) - 1), "bold")
    yield _fact("kafka", frame.broker, width)
    yield _fact("page", f"{frame.page or '...'}  Ctrl-C ends with a summary", width)
    yield _fact("in", f"{into:4.1f}/s   {put}", width)
    told = scene.outcomes
    came = f"{told[Result.MODIFIED]} with a pause, {told[Result.UNCHANGED]} without"
    in_force = "" if wait is None else f", in force after {wait} ms"
    yield _fact("out", f"{out:4.1f}/s   {came}{in_force}, {frame.open_events} open", width)
    yield _kept(frame, width)
    yield Text()


def _kept(frame: Frame, width: int) -> Text:
    text = Text().append(" promises ".ljust(_NAME_WIDTH + 2), "dim")
    if frame.findings is None:
        text.append("being watched")
    elif frame.findings == 0:
        text.append("kept so far", "bold green")
    else:
        text.append(f"BROKEN {frame.findings} times", "bold red")
    if frame.fault:
        text.append("   ").append(f"Axle's fault now: {frame.fault}", "bold red")
    elif len(text.plain) + len(PROMISES) + 3 <= width:
        text.append(f"   {PROMISES}", "dim")
    return _cut(text, width)


def _fact(name: str, what: str, width: int) -> Text:
    return _cut(Text().append(f" {name} ".ljust(_NAME_WIDTH + 2), "dim").append(what), width)


def _axis(now_ms: int, width: int, zone: tzinfo | None, hidden: int) -> Text:
    """Full hours above the bars."""
    bar = _bar_width(width)
    left = f" {'+' + str(hidden) + ' more' if hidden else ''}".ljust(_NAME_WIDTH + _DOING_WIDTH + 1)
    marks = [" "] * bar
    step = 1 if bar >= _ROOMY else 2
    hour_ms = -(-now_ms // HOUR_MS) * HOUR_MS
    while hour_ms < now_ms + _SPAN_MS:
        at = (hour_ms - now_ms) * bar // _SPAN_MS
        label = "|" + _clock(hour_ms, zone)
        if at + len(label) <= bar:
            marks[at : at + len(label)] = label
        hour_ms += step * HOUR_MS
    return Text().append(left + "".join(marks), "dim")


def _row(row: Row, now_ms: int, width: int, zone: tzinfo | None) -> Text:
    text = Text().append(f" {row.charger_id}".ljust(_NAME_WIDTH)[:_NAME_WIDTH] + " ", "bold")
    text.append(row.doing.value.ljust(_DOING_WIDTH), _DOES[row.doing])
    for cell, run in groupby(bar_cells(row, now_ms, _bar_width(width))):
        text.append("".join(run), _STYLES[cell])
    if width >= _WIDE:
        note, style = _note(row, zone)
        text.append("  ").append(note, style)
    return _cut(text, width)


def bar_cells(row: Row, now_ms: int, width: int) -> Sequence[str]:
    """The next hours as `width` marks. A pause that touches a mark shows, however short: it must not go unseen."""
    cells = []
    for index in range(width):
        start = now_ms + index * _SPAN_MS // width
        end = now_ms + (index + 1) * _SPAN_MS // width
        middle = ((start + (end - start) // 2, start + (end - start) // 2 + 1),)
        if _meets(row.pauses, ((start, end),)):
            cells.append(PAUSE)
        elif not _meets(row.effective, middle):
            cells.append(IDLE)
        else:
            cells.append(BOOST if _meets(row.boosted, middle) else CHARGE)
    return cells


def _note(row: Row, zone: tzinfo | None) -> tuple[str, str]:
    """What is worth a word about a charger, and its style."""
    if row.pauses:
        return f"paused {_blocks(row.pauses, zone)}", "yellow"
    if row.boosted:
        return f"boosted until {_clock(row.boosted[-1][1], zone)}", "bright_cyan"
    words = {Result.NOT_ENROLLED: "not with Axle", Result.WITHDRAWN: "no consent", Result.FALLBACK: "Axle was silent"}
    return words.get(row.result, "") if row.result else "", "dim"


def _legend(width: int) -> Text:
    text = Text().append(" " * (_NAME_WIDTH + _DOING_WIDTH + 1))
    for mark, word in ((CHARGE, "charging"), (BOOST, "boost, never paused"), (PAUSE, "paused for Axle")):
        text.append(f"{mark * 2} ", _STYLES[mark]).append(f"{word}   ", "dim")
    return _cut(text, width)


def _news_text(news: News, zone: tzinfo | None) -> Text:
    text = Text().append(f" {_clock(news.at_ms, zone, seconds=True)} ", "dim")
    text.append(news.who.ljust(_NAME_WIDTH) + " ", "bold").append(news.what.ljust(_WHAT_WIDTH) + " ")
    then = f"paused {_blocks(news.pauses, zone)}" if news.pauses else THEN.get(news.result, "charges as asked")
    return text.append("-> ", "dim").append(then, _TOLD.get(news.result, ""))


def _meets(a: Schedule, b: Schedule) -> bool:
    return any(start < other_end and other_start < end for start, end in a for other_start, other_end in b)


def _blocks(schedule: Schedule, zone: tzinfo | None) -> str:
    return ", ".join(f"{_clock(start, zone)}-{_clock(end, zone)}" for start, end in schedule)


def _bar_width(width: int) -> int:
    return max(width - _NAME_WIDTH - _DOING_WIDTH - 2 - (_NOTE_WIDTH + 2 if width >= _WIDE else 0), 10)


def _clock(at_ms: int, zone: tzinfo | None, *, seconds: bool = False) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
    return f"{at:%H:%M:%S}" if seconds else f"{at:%H:%M}"


def _minutes(seconds: float | None) -> str:
    whole = int(seconds or 0)
    return f"{whole // 60}:{whole % 60:02d}"


def _cut(text: Text, width: int) -> Text:
    text.truncate(width, overflow="ellipsis")
    text.no_wrap = True
    return text
