"""Draws a picture of each story, and the page that shows them: `python -m docs.stories.draw`.

Here lives how a story looks; what happens in it is in `stories.py`. The one idea: a story is read from top to bottom,
one row a step, because its steps are seconds apart or days. What a step publishes is a bar on the hours of the night,
and what is owed to Axle runs down beside the rows until it is answered. Every text is as wide as it is told to be, so
a picture looks the same whatever fonts a reader has.
"""

from datetime import UTC, datetime
from html import escape
from pathlib import Path
from textwrap import fill, wrap

from docs.stories.calls import Call, calls_of
from docs.stories.stories import STORIES, Story
from docs.stories.telling import Step, day_of, moment
from processor.core.events import Due, InputEvent
from processor.core.outputs import Alarm, EnrolmentStatus, ModifiedSchedule
from processor.core.schedule import EMPTY, HOUR_MS, Schedule, before, intersect, subtract, union

HERE = Path(__file__).parent
WIDTH, MARGIN = 960, 20
WORDS_X, BARS_X, BARS_END_X, CALLS_X = 86, 266, 750, 772
SIZE, LINE, BAR, WISH, SLOT, HOURS_Y = 12, 16, 13, 3, 13, 116
FONT = "ui-monospace,SFMono-Regular,'SF Mono',Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace"
TEXT, DIM, BACK, EDGE, GRID = "#e6edf3", "#8b949e", "#0d1117", "#30363d", "#1c2128"
CHARGING, BOOSTED, PAUSED, AXLE, RED, MAGENTA = "#3fb950", "#39c5cf", "#e3b341", "#79c0ff", "#f85149", "#bc8cff"
COLOURS = {
    "MODIFIED": PAUSED,
    "UNCHANGED": CHARGING,
    "FALLBACK": CHARGING,
    "REJECTED": RED,
    "WITHDRAWN": MAGENTA,
    "NOT_ENROLLED": MAGENTA,
    "OFFBOARDED": MAGENTA,
}
"""Of statuses and outcomes; the others are told in the colour of plain text."""
INTRODUCTION = """\
# Twelve stories

What the processor does when things happen at an awkward moment. Each story is played through the real core, the
`decide` of [the architecture](../../ARCHITECTURE.md), and drawn from what came out of it;
[a test](../../tests/core/test_stories_told.py) says by hand what has to come out at every step. `make pictures` draws
the pictures anew, and writes this page.

A picture is read from top to bottom, a row for each thing that happens. On the left is who did what, and which events
of the platform get their outcome by it. In the middle is what is published for a charger from then on: the white line
is what its driver asked for, the bar below it is when it may charge. On the right, a call to Axle is owed from its open
circle to its full one, however often it has to be made. The last row is what the charger does in the end. All times are
UTC.
"""
HATCH = (
    '<pattern id="pause" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<rect width="5" height="5" fill="#2d2611"/><rect width="2" height="5" fill="{PAUSED}"/></pattern>'
)


OWED = f'<circle r="3.5" fill="{BACK}" stroke="{AXLE}"/>'
ANSWERED = f'<circle r="3.5" fill="{AXLE}"/>'
LATE = f'<circle r="3.5" fill="{DIM}"/>'
DROPPED = f'<path d="M-3.5 -3.5l7 7m0 -7l-7 7" stroke="{RED}" stroke-width="1.5"/>'
CALL_MARKS = (
    (OWED, "a call is owed"),
    (ANSWERED, "answered"),
    (DROPPED, "not owed any more"),
    (LATE, "its answer comes too late and changes nothing"),
)
BAR_MARKS = (
    (f'fill="{TEXT}"', 18, WISH, "requested by the driver"),
    (f'fill="{CHARGING}"', 18, BAR, "charging"),
    (f'fill="{BOOSTED}"', 18, BAR, "boost"),
    (f'fill="url(#pause)" stroke="{PAUSED}"', 18, BAR, "pause for Axle"),
    (f'fill="{RED}"', 2, BAR, "now: what is left of it is over"),
)


def width_of(words: str, size: float = SIZE) -> float:
    """How wide a text is told to be."""
    return len(words) * size * 0.6


def fitting(words: str, width: float) -> list[str]:
    """The words in lines that are no wider than that."""
    return wrap(words, int(width / width_of("x")), break_on_hyphens=False)


SPACE = width_of(" ")


class Sheet:
    """A picture in the making: shapes, and the hours that its bars are drawn on."""

    def __init__(self, from_ms: int, until_ms: int) -> None:
        self.from_ms, self.until_ms = from_ms, until_ms
        self.shapes: list[str] = []

    def x(self, at_ms: int) -> float:
        """Where an instant is."""
        share = (at_ms - self.from_ms) / (self.until_ms - self.from_ms)
        return BARS_X + share * (BARS_END_X - BARS_X)

    def text(self, x: float, y: float, words: str, fill: str = TEXT, size: float = SIZE, weight: int = 400) -> float:
        """One line of text; returns where it ends."""
        width = width_of(words, size)
        look = ("" if fill == TEXT else f' fill="{fill}"') + ("" if size == SIZE else f' font-size="{size:g}"')
        look += "" if weight == 400 else f' font-weight="{weight}"'
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" textLength="{width:.1f}"{look}>{escape(words)}</text>')
        return x + width

    def box(self, x: float, y: float, width: float, height: float, look: str) -> None:
        """A rectangle."""
        self.shapes.append(f'<rect x="{x:.1f}" y="{y:g}" width="{width:.1f}" height="{height:g}" {look}/>')

    def line(self, x: float, y: float, to_x: float, to_y: float, look: str) -> None:
        """A straight line."""
        self.shapes.append(f'<path d="M{x:.1f} {y:g}L{to_x:.1f} {to_y:g}" {look}/>')

    def spans(self, y: float, schedule: Schedule, look: str, height: float = BAR) -> None:
        """The blocks of a schedule as boxes on the hours."""
        for start, end in intersect(schedule, ((self.from_ms, self.until_ms),)):
            self.box(self.x(start), y, self.x(end) - self.x(start), height, look)

    def bar(self, y: float, effective: Schedule, pauses: Schedule, boosted: Schedule) -> None:
        """What a charger does, on the hours."""
        self.spans(y, subtract(effective, boosted), f'fill="{CHARGING}"')
        self.spans(y, intersect(effective, boosted), f'fill="{BOOSTED}"')
        self.spans(y, pauses, f'fill="url(#pause)" stroke="{PAUSED}"')


class Picture:
    """One story on its sheet, row by row."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.telling = story.told()
        self.steps = self.telling.steps
        self.calls = calls_of(self.steps)
        self.sheet = Sheet(*_hours(self.steps))
        self.tops: list[float] = []
        self.starts: list[float] = []
        self.labels_x = CALLS_X + SLOT * (max(call.slot for call in self.calls) + 1)

    def svg(self) -> str:
        """The whole picture."""
        y = self._head()
        first_bar = len(self.sheet.shapes)
        y = self._rows(y + 8)
        for call, start in zip(self.calls, self.starts, strict=True):
            self._call(call, start)
        y = self._deeds(y)
        self._hours_down(y, first_bar)
        height = self._legend(y)
        shapes = "\n".join(self.sheet.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" role="img" '
            f'aria-label="{escape(self.story.title)}">\n<defs>{HATCH}</defs>\n'
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8" fill="{BACK}" '
            f'stroke="{EDGE}"/>\n'
            f'<g font-family="{FONT}" font-size="{SIZE}" fill="{TEXT}">\n{shapes}\n</g>\n</svg>\n'
        )

    def _head(self) -> float:
        """Title, what is proved, and what the columns are; returns where the rows begin."""
        sheet = self.sheet
        sheet.text(MARGIN, 36, self.story.title, size=17, weight=600)
        sheet.text(MARGIN, 58, self.story.proves, CHARGING, size=13)
        sheet.text(MARGIN, 92, "What happens", DIM)
        sheet.text(BARS_X, 92, "What is published, on the hours of the night (UTC)", DIM)
        sheet.text(CALLS_X, 92, "Calls owed to Axle", DIM)
        return HOURS_Y

    def _hours_down(self, bottom: float, place: int) -> None:
        """The hours, and their lines down behind all rows: they are drawn before what is at that place."""
        behind = Sheet(self.sheet.from_ms, self.sheet.until_ms)
        for at_ms in range(behind.from_ms, behind.until_ms + 1, HOUR_MS):
            words = f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H}"
            behind.text(round(behind.x(at_ms) - width_of(words) / 2, 1), HOURS_Y, words, DIM)
            behind.line(behind.x(at_ms), HOURS_Y + 6, behind.x(at_ms), bottom, f'stroke="{GRID}"')
        self.sheet.shapes[place:place] = behind.shapes

    def _rows(self, y: float) -> float:
        self.sheet.text(MARGIN, y + 14, self.telling.before, DIM)
        y += 28
        day = day_of(self.steps[0].at_ms)
        for number, step in enumerate(self.steps):
            if day_of(step.at_ms) != day:
                self.sheet.line(MARGIN, y, WIDTH - MARGIN, y, f'stroke="{EDGE}"')
                self.sheet.text(MARGIN, y + 30, _later(self.steps[number - 1], step), DIM)
                y, day = y + 40, day_of(step.at_ms)
            self.tops.append(y)
            self.sheet.line(MARGIN, y, WIDTH - MARGIN, y, f'stroke="{EDGE}"')
            y = max(self._happening(step, y), self._published(step, y), self._owed(number, step, y)) + 9
        self.sheet.line(MARGIN, y, WIDTH - MARGIN, y, f'stroke="{EDGE}"')
        return y

    def _happening(self, step: Step, y: float) -> float:
        """Left: when, who, what, and which outcomes are given; returns where it ends."""
        sheet = self.sheet
        y += LINE
        sheet.text(MARGIN, y, moment(step.at_ms), DIM)
        colour = TEXT if isinstance(step.event, InputEvent) else DIM if isinstance(step.event, Due) else AXLE
        home = f"{step.event.site_id}: " if step.event and len(self.telling.homes) > 1 else ""
        sheet.text(WORDS_X, y, f"{home}{step.who}", colour, weight=600)
        for words in fitting(step.what, BARS_X - WORDS_X - 12):
            y += LINE
            sheet.text(WORDS_X, y, words, colour)
        for outcome in step.outcomes:
            y += LINE
            x = sheet.text(MARGIN, y, f"outcome {outcome.event_id}:", DIM) + SPACE
            sheet.text(x, y, outcome.result, COLOURS.get(outcome.result, TEXT))
        return y

    def _published(self, step: Step, y: float) -> float:
        """Middle: the records, each as a bar with its status and reason; returns where it ends."""
        boosts = iter(step.boosts)
        for said in step.outputs:
            if isinstance(said, ModifiedSchedule):
                colour = COLOURS.get(said.status, TEXT)
                y = self._sentence(y, f"{said.charger_id} {said.status}:", said.reason, colour)
                y = self._bar(y + 8, said, next(boosts))
            elif isinstance(said, EnrolmentStatus):
                chargers = ", ".join(f"{c.charger_id} {c.status}" for c in said.chargers)
                y = self._sentence(y, f"enrolment-status {said.site_id}:", f"consent {said.consent}, {chargers}", DIM)
            elif isinstance(said, Alarm):
                y = self._sentence(y, "alarm:", f"{said.kind} ({said.detail})", RED)
        if step.event and len(step.outputs) == len(step.outcomes):
            y = self._sentence(y, "", "no record: what is in force stays", DIM)
        return y

    def _sentence(self, y: float, head: str, words: str, colour: str) -> float:
        """A few words in colour, and plain ones behind them, in as many lines as it takes."""
        first, *others = fitting(f"{head} {words}".strip(), BARS_END_X - BARS_X)
        y += LINE
        x = self.sheet.text(BARS_X, y, head, colour, weight=600) if head else BARS_X - SPACE
        plain = DIM if colour == DIM else TEXT
        self.sheet.text(x + SPACE, y, first[len(head) :].strip(), plain)
        for line in others:
            y += LINE
            self.sheet.text(BARS_X, y, line, plain)
        return y

    def _bar(self, y: float, record: ModifiedSchedule, boosted: Schedule) -> float:
        """What is requested as a thin line, what is in force below it, and what is over by now in the dark."""
        sheet = self.sheet
        sheet.spans(y, record.requested, f'fill="{TEXT}"', WISH)
        sheet.bar(y + WISH + 1, record.effective, record.pauses, boosted)
        now_x = sheet.x(record.decided_at_ms)
        past = before(record.requested, record.decided_at_ms)
        sheet.spans(y - 1, past, f'fill="{BACK}" opacity="0.6"', WISH + BAR + 3)
        sheet.line(now_x, y - 3, now_x, y + WISH + BAR + 3, f'stroke="{RED}" stroke-width="1.5"')
        return y + WISH + BAR + 4

    def _owed(self, number: int, step: Step, y: float) -> float:
        """Right: the calls that are owed from this step on; returns where it ends."""
        for call in self.calls:
            if call.begin == number:
                self.starts.append(y + LINE - 4)
                for words in fitting(call.words, WIDTH - MARGIN - self.labels_x):
                    y += LINE
                    self.sheet.text(self.labels_x, y, words, AXLE)
        if not step.owed:
            y += LINE
            self.sheet.text(self.labels_x, y, "none", DIM)
        return y

    def _call(self, call: Call, start: float) -> None:
        """A line from the step at which a call is owed to the one that answers or drops it."""
        x = CALLS_X + 4 + call.slot * SLOT
        end = self.tops[call.end] + LINE - 4
        self.sheet.line(x, start, x, end, f'stroke="{AXLE}" stroke-width="2"')
        self._mark(x, start, OWED)
        self._mark(x, end, ANSWERED if call.is_answered else DROPPED)
        if call.late is not None:
            late = self.tops[call.late] + LINE - 4
            self.sheet.line(x, end + 5, x, late, f'stroke="{DIM}" stroke-dasharray="2 3"')
            self._mark(x, late, LATE)

    def _mark(self, x: float, y: float, mark: str) -> None:
        self.sheet.shapes.append(f'<g transform="translate({x:g} {y:g})">{mark}</g>')

    def _deeds(self, y: float) -> float:
        """What each charger does in the end: of each record the part until the next one."""
        records = [pair for step in self.steps for pair in zip(step.records, step.boosts, strict=True)]
        for charger_id in sorted({record.charger_id for record, _ in records}):
            own = [(record, boost) for record, boost in records if record.charger_id == charger_id]
            ends = [record.decided_at_ms for record, _ in own[1:]] + [self.sheet.until_ms]
            effective = pauses = boosted = EMPTY
            for (record, boost), end in zip(own, ends, strict=True):
                in_force = ((record.decided_at_ms, end),)
                effective = union(effective, intersect(record.effective, in_force))
                pauses = union(pauses, intersect(record.pauses, in_force))
                boosted = union(boosted, intersect(boost, in_force))
            y += 12
            self.sheet.text(MARGIN, y + BAR - 3, f"So this is what {charger_id} does:", weight=600)
            self.sheet.bar(y, effective, pauses, boosted)
            y += BAR
        return y + 10

    def _legend(self, y: float) -> float:
        """What the marks mean; returns how high the picture is."""
        sheet = self.sheet
        y += 22
        x: float = MARGIN
        for look, width, height, words in BAR_MARKS:
            sheet.box(x, y - 10 + (BAR - height) / 2, width, height, look)
            x = sheet.text(x + width + 6, y, words, DIM) + 20
        y += LINE + 6
        x = MARGIN
        for mark, words in CALL_MARKS:
            self._mark(x + 4, y - 4, mark)
            x = sheet.text(x + 14, y, words, DIM) + 20
        return y + MARGIN


def _hours(steps: list[Step]) -> tuple[int, int]:
    """The whole hours around all that is published and all that happens in the story's night."""
    records = [record for step in steps for record in step.records]
    starts = [step.at_ms for step in steps] + [start for record in records for start, _ in record.requested]
    ends = [record.valid_until_ms for record in records]
    return min(starts) // HOUR_MS * HOUR_MS, -(-max(ends) // HOUR_MS) * HOUR_MS


def _later(last: Step, step: Step) -> str:
    days = (datetime.fromtimestamp(step.at_ms / 1000, UTC) - datetime.fromtimestamp(last.at_ms / 1000, UTC)).days
    return f"{days + 1} days later"


def page() -> str:
    """The page that shows all pictures."""
    stories = "\n\n".join(
        f"## {story.title}\n\n{fill(story.words, 120, break_on_hyphens=False)}\n\n"
        f"![{story.title}. {story.proves}]({story.name}.svg)"
        for story in STORIES
    )
    return f"{INTRODUCTION}\n{stories}\n"


def files() -> dict[Path, str]:
    """Everything that is drawn and written here, by its place."""
    drawn = {HERE / f"{story.name}.svg": Picture(story).svg() for story in STORIES}
    return {**drawn, HERE / "README.md": page()}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content)
