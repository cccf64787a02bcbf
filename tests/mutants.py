"""Mutation testing of the core: `make mutants` breaks every function in every way that mutmut knows.

Each mutant that no test notices has to be in `tests/mutants.toml`, with the reason why it may stay; one that is not,
or fewer than 90 % noticed, is a failure. mutmut runs the quick tests of the core; a mutant that they do not notice, and
that no reason explains, is tried again alone, by a process of its own with nearly all of them. That also switches it on
before the program is imported, which functions that build the table need. With `--reasons` the explained ones are tried
alone too, and those that are noticed after all are named: their reason can go.
"""

import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).parent.parent
REASONS = Path(__file__).with_name("mutants.toml")
SHARE_MIN = 0.9
SECONDS_MAX = 300
ALONE = ("test_words.py", "test_found_by_mutants.py", "test_decide.py", "test_edge_cases_answers.py")
"""The tests that notice most come first, after those of the module itself; the rest of the folder follows."""
SLOW = ("test_promises.py", "test_permutations.py")
BIN = Path(sys.executable).parent
out = Console(stderr=True)


def main() -> int:
    """0 when enough mutants were noticed and every other one is explained."""
    found = _run()
    explained = _explained()
    asked = [name for name, noticed in found.items() if not noticed]
    if "--reasons" not in sys.argv:
        asked = [name for name in asked if _key(name) not in explained]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = zip(asked, pool.map(_noticed_alone, asked), strict=True)
        for name, noticed in track(answers, "one by one", len(asked), console=out):
            found[name] = noticed
            if noticed and _key(name) in explained:
                out.print(f"noticed, so its reason can go: {_key(name)}")
    survivors = sorted(name for name, noticed in found.items() if not noticed)
    unexplained = [name for name in survivors if _key(name) not in explained]
    share = 1 - len(survivors) / len(found)
    _tell(found, survivors, unexplained, share)
    return 0 if share >= SHARE_MIN and not unexplained else 1


def _run() -> dict[str, bool]:
    """Whether each mutant was noticed, by its name."""
    subprocess.run([BIN / "mutmut", "run"], cwd=ROOT, check=False)
    told = subprocess.run(
        [BIN / "mutmut", "results", "--all", "true"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return {name: how not in {"survived", "no tests"} for name, how in _lines(told) if how != "not checked"}


def _lines(told: str) -> Iterator[tuple[str, str]]:
    for line in told.splitlines():
        name, separator, how = line.strip().partition(": ")
        if separator:
            yield name, how


def _noticed_alone(name: str) -> bool:
    """Run the core's tests with the mutant in place from the first import on."""
    first = [f"test_{name.split('.')[2]}.py", *ALONE]
    # File by file: where a folder is named, pytest takes the files in it as they stand there.
    rest = sorted(path.name for path in (ROOT / "tests" / "core").glob("test_*.py") if path.name not in SLOW)
    tests = [f"tests/core/{file}" for file in dict.fromkeys([*first, *rest])]
    command = [str(BIN / "pytest"), "-q", "-x", "-p", "no:cacheprovider", *tests]
    try:
        return (
            subprocess.run(
                command,
                cwd=ROOT / "mutants",
                env={**os.environ, "MUTANT_UNDER_TEST": name, "PYTHONPATH": "."},
                check=False,
                capture_output=True,
                timeout=SECONDS_MAX,
            ).returncode
            != 0
        )
    except subprocess.TimeoutExpired:
        return True


def _explained() -> dict[str, str]:
    """The reasons, by module, function and number."""
    return {str(key): str(reason) for key, reason in tomllib.loads(REASONS.read_text())["survivors"].items()}


def _key(name: str) -> str:
    return name.removeprefix("processor.core.").replace("__mutmut_", " ").replace(".x_", ".", 1)


def _tell(found: dict[str, bool], survivors: list[str], unexplained: list[str], share: float) -> None:
    modules = Counter(name.split(".")[2] for name in found)
    missed = Counter(name.split(".")[2] for name in survivors)
    for module, count in sorted(modules.items()):
        out.print(f"{module:12} {count:5} mutants, {missed[module]:3} not noticed")
    out.print(
        f"{len(found)} mutants, {share:.1%} noticed; {len(survivors)} not, {len(unexplained)} of them unexplained"
    )
    for name in unexplained:
        diff = subprocess.run([BIN / "mutmut", "show", name], cwd=ROOT, check=False, capture_output=True, text=True)
        out.print(diff.stdout, markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
