"""House rules as tests: what a reviewer would otherwise have to notice each time."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400
PYTHON = sorted(path for folder in ("processor", "tests", "docs") for path in (ROOT / folder).rglob("*.py"))
MIRRORED = ("core", "wire", "shell")
WITHOUT_MIRROR = {
    "shell/clock.py": "it reads the machine's clock and nothing else",
    "shell/exits.py": "values only",
    "shell/loop.py": "what it does shows only with a broker: tests/kafka",
    "shell/records.py": "values only",
    "shell/schema_files.py": "tests/wire/test_schemas.py reads through it",
    "shell/service.py": "wiring: tests/kafka runs it whole",
    "core/events.py": "values only",
    "core/outputs.py": "values only",
}
TELLTALE = re.compile(
    r"/(?:work|root|home/\w+)/|(?:pypi|pythonhosted|registry\.npmjs|maven\.org|crates)\.(?:org|io)|TODO|FIXME|XXX"
)


def _tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_short() -> None:
    """No function is longer than 70 lines."""
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in PYTHON
        for node in _functions(path)
        if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]

    assert long == []


def test_modules_are_short_and_say_what_they_are() -> None:
    """No module is longer than 400 lines, and each opens with a docstring."""
    bad = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if len(path.read_text().splitlines()) > MODULE_LINES_MAX or not ast.get_docstring(ast.parse(path.read_text()))
    ]

    assert bad == []


def test_every_test_says_in_one_sentence_what_holds() -> None:
    """A test without a sentence tells nobody what broke."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in PYTHON
        if path.name.startswith("test_")
        for node in _functions(path)
        if node.name.startswith("test_") and not (ast.get_docstring(node) or "").rstrip().endswith(".")
    ]

    assert silent == []


def test_every_module_has_its_test_file() -> None:
    """`processor/core/x.py` is tested by `tests/core/test_x.py`; exceptions have a reason."""
    missing = [
        f"{folder}/{path.name}"
        for folder in MIRRORED
        for path in (ROOT / "processor" / folder).glob("*.py")
        if path.name != "__init__.py"
        and f"{folder}/{path.name}" not in WITHOUT_MIRROR
        and not list((ROOT / "tests" / folder).glob(f"test_{path.stem}*.py"))
    ]

    assert missing == []


def test_no_module_is_dead() -> None:
    """Every module of the package is imported by another one, or is a way in."""
    ways_in = {"__init__", "__main__", "axle_sim"}
    text = {path: path.read_text() for path in PYTHON}
    dead = [
        str(path.relative_to(ROOT))
        for path in PYTHON
        if path.is_relative_to(ROOT / "processor")
        and path.stem not in ways_in
        and not any(
            re.search(rf"processor\.[\w.]*\b{path.stem}\b|import [\w, ]*\b{path.stem}\b", other)
            for place, other in text.items()
            if place != path
        )
    ]

    assert dead == []


def test_nothing_tells_of_a_machine_or_is_left_for_later() -> None:
    """No path of a machine, no registry's host, no note to oneself is committed."""
    telling = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in _tracked()
        if path != Path(__file__) and path.suffix not in {".svg", ".png"} and path.name != "LICENSE"
        for found in [TELLTALE.search(path.read_text(errors="ignore"))]
        if found
    ]

    assert telling == []


def test_the_lock_holds_every_dependency() -> None:
    """What pyproject.toml asks for is pinned in requirements.lock, at a version that it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *project["dependency-groups"]["dev"],
    ]
    lock = (ROOT / "requirements.lock").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;\\]+)", lock, re.MULTILINE))
    needs = [Requirement(line) for line in asked]
    wrong = [str(need) for need in needs if not need.specifier.contains(pinned.get(need.name, "0"))]

    assert wrong == []


def test_the_reference_is_up_to_date() -> None:
    """Every setting and every metric is in docs/reference.md, as the code has them."""
    checked = subprocess.run(
        [sys.executable, "docs/reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("core/decide.py", "import processor.wire.axle"),
        ("core/site.py", "import time"),
        ("wire/axle.py", "import processor.shell.loop"),
        ("shell/loop.py", "import processor.settings"),
        ("demo/axle.py", "import processor.wire.axle"),
    ],
)
def test_a_wrong_import_fails_the_linter(tmp_path: Path, module: str, line: str) -> None:
    """The direction of imports is not a habit but a check: breaking it on purpose is found."""
    shutil.copytree(ROOT / "processor", tmp_path / "processor")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = tmp_path / "processor" / module
    broken.write_text(f"{broken.read_text()}\n{line}\n")
    linted = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert linted.returncode != 0
    assert "BROKEN" in linted.stdout


def test_the_twelve_steps_can_be_followed() -> None:
    """Each step of ARCHITECTURE.md is a function of that name, and its docstring begins with that number."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    steps = re.findall(r"^\| (\d+) \w+ \| \[`(?:\w+\.)?(\w+)`\]\((\S+)\)", text, re.MULTILINE)
    lost = [
        f"{number} {name}"
        for number, name, place in steps
        if not any(
            node.name == name and (ast.get_docstring(node) or "").startswith(f"Step {number}:")
            for node in _functions(ROOT / place)
        )
    ]

    assert [int(number) for number, _, _ in steps] == list(range(1, 13))
    assert lost == []


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "tests/README.md",
        "docs/reference.md",
        "docs/table.md",
        "docs/stories/README.md",
        "deploy/README.md",
    ],
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    """A relative link names a file that is there."""
    path = ROOT / document
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []
