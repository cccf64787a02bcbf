"""Writes `docs/table.md` and the diagrams of ARCHITECTURE.md from the core's table. `--check` fails on drift.

Here the table of `processor/core/decide.py` and the runs of `docs/runs.py` are put into Markdown and mermaid. The one
idea: nothing of the table is written here by hand, so a row that changes is a document that is out of date.
"""

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path

from docs.runs import Edge, Step, askings, causes, is_refusal, runs, runs_by_row, standings, steps
from processor.core.conditions import always
from processor.core.decide import ANYHOW, ROWS, TABLE, Row
from processor.core.events import Event
from processor.core.outputs import Alarm, EnrolmentStatus, Erased, ModifiedSchedule, Outcome, Output
from processor.core.standing import Asking, Standing

HERE = Path(__file__).parent
TABLE_FILE = HERE / "table.md"
ARCHITECTURE = HERE.parent / "ARCHITECTURE.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
MET, OPEN, CLOSED = "●", "○", "·"
JOINS = frozenset({Standing.UNKNOWN, Standing.JOINING, Standing.ADOPTING, Standing.ENROLLED, Standing.DENIED})
Causes = tuple[str, ...]
Bundle = tuple[tuple[str, ...], tuple[str, ...], Causes]
"""Arrows that are drawn as one: from each of these states to each of those."""
OPENING = """\
# The table of the core

Written by `python docs/table.py` from `TABLE` in [`core/decide.py`](../processor/core/decide.py) and from runs of the
real core, every event in every condition that the tests know; a test fails when it is out of date."""
MARKS = f"""\
An event first moves the registers that it speaks of, and a plug-in's consent may make an onboarding owed. Then the
first row applies that is open in the charger's state and whose condition holds. Where an event names no charger, the
state is the site's.

{MET} a run met the row in that state; {OPEN} it is open there, but no run met it (mostly because the event moves the
state before a row is chosen, or names no charger); {CLOSED} it is not for that state. *Refused*: the row changes
nothing. *It tells*: the statuses, outcomes and alarms of its runs."""
TRANSITIONS = """\
Every change of a charger's state in these runs, and the rows that made it. *Unasked*: only answers to calls that are
not owed in that state make it; it is not drawn in ARCHITECTURE.md."""


def table() -> str:
    """The whole of `docs/table.md`."""
    return "\n".join(
        [
            OPENING,
            "",
            _summary(),
            "",
            "## How to read it",
            "",
            MARKS,
            "",
            "| | standing | how a charger stands with Axle |",
            "| --- | --- | --- |",
            *(f"| **{state[0]}** | `{state}` | {about} |" for state, about in members(Standing).items()),
            "",
            "| asking | how its question stands |",
            "| --- | --- |",
            *(f"| `{state}` | {about} |" for state, about in members(Asking).items()),
            "",
            "## The rows",
            "",
            *(line for kind in TABLE for line in _section(kind)),
            "## The transitions",
            "",
            TRANSITIONS,
            "",
            "| from | to | by | rows |",
            "| --- | --- | --- | --- |",
            *(_transition(edge, made_by) for edge, made_by in steps(standings, Standing).items()),
            "",
        ]
    )


def _summary() -> str:
    rows = [(kind, row) for kind in TABLE for row in TABLE[kind]]
    refused = [pair for pair, open_rows in ROWS.items() if all(is_refusal(pair[2], row) for row in open_rows)]
    return (
        f"**{len(ROWS)} pairs** of a state and an event ({len(Standing)} standings, {len(Asking)} ways of asking, "
        f"{len(TABLE)} kinds of events), each answered by some of **{len(rows)} rows**. "
        f"**{sum(is_refusal(kind, row) for kind, row in rows)} rows are refusals**, and {len(refused)} pairs are "
        f"refused whatever else holds. {len(runs())} runs were watched."
    )


def _section(kind: type[Event]) -> list[str]:
    return [
        f"### {kind.__name__}",
        "",
        _sentence(kind),
        "",
        f"| what it is about | when | then | it tells | {' | '.join(state[0] for state in Standing)} |",
        "| --- | --- | --- | --- |" + " :-: |" * len(Standing),
        *(_line(kind, row) for row in TABLE[kind]),
        "",
    ]


def _line(kind: type[Event], row: Row) -> str:
    says = f"*refused:* {row.says}" if is_refusal(kind, row) else row.says
    if row.asking != ANYHOW:
        says += f" (only while {' or '.join(f'`{how}`' for how in Asking if how in row.asking)})"
    when = "otherwise" if row.when is always else _sentence(row.when)
    told = {_told(output) for run in runs_by_row()[kind, row.says] for output in run.outputs}
    cells = [says, when, _sentence(row.then), ", ".join(sorted(told)), *_states(kind, row)]
    return f"| {' | '.join(cells)} |"


def _states(kind: type[Event], row: Row) -> Iterator[str]:
    met = {run.pair[0] for run in runs_by_row()[kind, row.says]}
    for state in Standing:
        is_open = any(row in ROWS[state, how, kind] for how in Asking)
        yield MET if state in met else OPEN if is_open else CLOSED


def _told(output: Output) -> str:
    match output:
        case ModifiedSchedule(status=status):
            return f"`{status}`"
        case Outcome(result=result):
            return f"`{result}`"
        case Alarm(kind=kind):
            return f"alarm `{kind}`"
        case EnrolmentStatus():
            return "enrolment status"
        case Erased():
            return "erased"


def _transition(edge: Edge, made_by: list[Step]) -> str:
    rows = "; ".join(dict.fromkeys(step.row for step in sorted(made_by, key=lambda step: step.row)))
    return f"| `{edge[0]}` | `{edge[1]}` | {', '.join(causes(made_by)) or '*unasked*'} | {rows} |"


def members(states: type[StrEnum]) -> dict[str, str]:
    """The members of an enum with the sentences that stand below them in the source."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(states)).body if isinstance(node, ast.ClassDef))
    values = [node.value for node in body[1:] if isinstance(node, ast.Expr)]
    said = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return dict(zip([state.value for state in states], said, strict=True))


def _sentence(of: Callable[..., object]) -> str:
    """The first sentence of a docstring; nothing where there is none."""
    return re.split(r"(?<=\.)\s", " ".join((of.__doc__ or "").split()), maxsplit=1)[0]


def drawn(states: type[StrEnum]) -> dict[Edge, Causes]:
    """What the diagrams show: from, to, and what makes it; without what only unasked answers make."""
    found = steps(standings if states is Standing else askings, states)
    return {edge: causes(made_by) for edge, made_by in found.items() if causes(made_by)}


def diagrams() -> str:
    """What stands between the markers of ARCHITECTURE.md."""
    found = drawn(Standing)
    joining = {edge: by for edge, by in found.items() if {*edge} <= JOINS}
    leaving = {edge: by for edge, by in found.items() if edge not in joining}
    return "\n".join(
        [
            "Joining Axle:",
            "",
            *_diagram("[*] --> UNKNOWN", _single(joining)),
            "Leaving it, and coming back; a box with several names stands for each of them:",
            "",
            *_diagram("direction TB", _bundled(leaving)),
            "A charger's question:",
            "",
            *_diagram("[*] --> QUIET", _single(drawn(Asking))),
        ]
    )


def _single(found: dict[Edge, Causes]) -> list[Bundle]:
    return [((before,), (after,), by) for (before, after), by in found.items()]


def _bundled(found: dict[Edge, Causes]) -> list[Bundle]:
    """Fewer arrows for the same: states that leave for the same one by the same causes, or come back from one."""
    out: dict[tuple[str, Causes], list[str]] = {}
    back: dict[str, dict[str, Causes]] = {}
    within: dict[Edge, Causes] = {}
    for (before, after), by in found.items():
        if before in JOINS:
            out.setdefault((after, by), []).append(before)
        elif after in JOINS:
            back.setdefault(before, {})[after] = by
        else:
            within[before, after] = by
    return [
        *((tuple(before), (after,), by) for (after, by), before in out.items()),
        *_single(within),
        *(
            ((before,), tuple(after), tuple(dict.fromkeys(cause for by in after.values() for cause in by)))
            for before, after in back.items()
        ),
    ]


def _diagram(first: str, bundles: list[Bundle]) -> list[str]:
    boxes = dict.fromkeys(box for before, after, _ in bundles for box in (before, after) if len(box) > 1)
    return [
        "```mermaid",
        "stateDiagram-v2",
        f"    {first}",
        *(f'    state "{", ".join(box)}" as {"_".join(box)}' for box in boxes),
        *(f"    {'_'.join(before)} --> {'_'.join(after)}: {'<br/>'.join(by)}" for before, after, by in bundles),
        "```",
        "",
    ]


def architecture() -> str:
    """ARCHITECTURE.md with its diagrams drawn anew."""
    before, _, rest = ARCHITECTURE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{diagrams()}{END}{after}"


if __name__ == "__main__":
    wanted = {TABLE_FILE: table(), ARCHITECTURE: architecture()}
    if "--check" in sys.argv:
        stale = [path.name for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        sys.exit(f"out of date: {' and '.join(stale)}; run python docs/table.py" if stale else 0)
    for path, text in wanted.items():
        path.write_text(text)
