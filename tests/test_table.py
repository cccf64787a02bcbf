"""The written table and the drawn diagrams are the core's own, and what they show is what was promised."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from docs.runs import Edge, Run, StateOf, askings, is_refusal, runs, standings
from docs.table import ARCHITECTURE, BEGIN, CLOSED, END, JOINS, TABLE_FILE, architecture, members, table
from processor.core.decide import ROWS, TABLE
from processor.core.events import LookedUp, Onboarded, PlugIn, StillListed
from processor.core.site import Charger, taken_away, withdrawn
from processor.core.standing import Asking, Standing

ROOT = Path(__file__).resolve().parents[1]
BOX = re.compile(r'    state "([A-Z, ]+)" as (\w+)')
ARROW = re.compile(r"    (\w+) --> (\w+): \w[\w ()<>/,]*")
LEAVES = frozenset(Standing) - JOINS


def drawn() -> list[Edge]:
    """The arrows of ARCHITECTURE.md, those of boxes with several names spelt out."""
    arrows: list[Edge] = []
    section = ARCHITECTURE.read_text().partition(BEGIN)[2].partition(END)[0]
    for diagram in re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", section, re.DOTALL):
        boxes: dict[str, list[str]] = {}
        for line in diagram.splitlines()[1:]:
            box, arrow = BOX.fullmatch(line), ARROW.fullmatch(line)
            assert box or arrow, line
            if box:
                boxes[box[2]] = box[1].split(", ")
            elif arrow:
                arrows += product(boxes.get(arrow[1], [arrow[1]]), boxes.get(arrow[2], [arrow[2]]))
    return arrows


def written(heading: str) -> list[list[str]]:
    """The cells of the table that follows a heading of `docs/table.md`, without its head."""
    below = TABLE_FILE.read_text().partition(f"# {heading}\n")[2]
    section = re.split(r"^#+ ", below, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return rows[2:]


def changes(state_of: StateOf = standings) -> Iterator[tuple[Run, str, str]]:
    """Every change of a charger's state in any run."""
    for run in runs():
        for charger in run.after.chargers or run.before.chargers:
            fresh = Charger(charger.charger_id)
            before, after = (
                state_of(site, site.charger(charger.charger_id) or fresh) for site in (run.before, run.after)
            )
            if before != after:
                yield run, before, after


def test_the_table_and_the_diagrams_are_up_to_date() -> None:
    """Both documents are what the code writes now."""
    assert TABLE_FILE.read_text() == table()
    assert ARCHITECTURE.read_text() == architecture()


def test_a_stale_document_fails_the_check(tmp_path: Path) -> None:
    """`--check` passes as things are; where a document is missing it fails and says what to do."""
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs/table.py", tmp_path / "docs")
    shutil.copy(ARCHITECTURE, tmp_path)
    told = [
        subprocess.run(
            [sys.executable, "docs/table.py", "--check"], cwd=folder, capture_output=True, text=True, check=False
        )
        for folder in (ROOT, tmp_path)
    ]
    assert [each.returncode for each in told] == [0, 1]
    assert [each.stderr for each in told] == ["", "out of date: table.md; run python docs/table.py\n"]


def test_every_pair_is_written_down() -> None:
    """The rows cover every state with every event, and each kind of event has a row in the column of each state."""
    assert set(ROWS) == set(product(Standing, Asking, TABLE))
    for kind, rows in TABLE.items():
        lines = written(kind.__name__)
        assert [row.says in line[0] for row, line in zip(rows, lines, strict=True)] == [True] * len(rows)
        columns = zip(*(line[-len(Standing) :] for line in lines), strict=True)
        assert [{*column} != {CLOSED} for column in columns] == [True] * len(Standing), kind


def test_every_row_says_what_it_asks_and_does() -> None:
    """Conditions and effects have a sentence, and exactly the refusals' begins with the word that nothing happens."""
    for kind, rows in TABLE.items():
        for row in rows:
            assert row.when.__doc__, row.says
            assert (row.then.__doc__ or "").startswith("Nothing ") is is_refusal(kind, row), (kind, row.says)


def test_states_have_letters_of_their_own() -> None:
    """A column is headed by the first letter of its state, and the source says what each state is."""
    assert len({state[0] for state in Standing}) == len(Standing)
    assert [*members(Standing)] == [*Standing]
    assert [*members(Asking)] == [*Asking]


def test_every_transition_is_drawn_or_said_to_be_unasked() -> None:
    """What runs produced is drawn, what is drawn was produced, each once; the rest only unasked answers make."""
    happened = {(before, after) for _, before, after in changes()}
    listed = {(line[0].strip("`"), line[1].strip("`")): line[2] for line in written("The transitions")}
    standing = [edge for edge in drawn() if {*edge} <= {*Standing}]
    assert happened == set(listed)
    assert sorted(standing) == sorted(edge for edge, by in listed.items() if by != "*unasked*")


def test_every_change_of_a_question_is_drawn() -> None:
    """A question opens and closes as the third diagram shows, and in no other way."""
    happened = {(before, after) for _, before, after in changes(askings)}
    assert happened == {edge for edge in drawn() if {*edge} <= {*Asking}}


def test_who_is_gone_comes_back_only_by_a_newer_consent() -> None:
    """Else it can only be on its way out again: Axle turns out or seems to have it, perhaps by another's hand."""
    met = set()
    for run, before, after in changes():
        if before != Standing.GONE:
            continue
        met.add(after)
        if after in JOINS:
            assert isinstance(run.event, PlugIn)
            assert run.event.enrolment
            assert not withdrawn(run.after)
        else:
            assert isinstance(run.event, Onboarded | LookedUp | StillListed) or run.rules.onboarding_elsewhere
    assert met >= {Standing.JOINING, Standing.LEAVING, Standing.SEARCHING}


def test_who_leaves_is_not_enrolled_without_joining_anew() -> None:
    """No charger that is on its way out, or gone, is enrolled by one event, and none joins while consent is missing."""
    for run, before, after in changes():
        if before in LEAVES:
            assert after != Standing.ENROLLED
            assert after not in JOINS or not withdrawn(run.after)
        if after == Standing.JOINING:
            joining = [charger for charger in run.after.chargers if standings(run.after, charger) == after]
            assert not any(taken_away(run.after, charger) for charger in joining)
