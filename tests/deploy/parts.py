"""What the tests of deploy/ share: where its files are, and how YAML and variables are read out of them.

The idea: deploy/ is read as its users read it, as text and YAML; nothing of it is imported but the generator.
"""

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "axle-processor"
VALUE_SETS = ("minimal", "production", "workers")
PREFIX = "AXLE_PROCESSOR_"
_VARIABLE = re.compile(rf"{PREFIX}([A-Z][A-Z_]*[A-Z])\b")


def documents(path: Path) -> list[Any]:
    """The YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def named_variables(text: str) -> set[str]:
    """The settings that a text names whole, with their prefix."""
    return {PREFIX + found for found in _VARIABLE.findall(text)}


def written() -> Iterator[Path]:
    """Every text file under deploy/."""
    return (path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix != ".pyc")


def program(name: str) -> ModuleType:
    """A program of deploy/, as a module."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def merged(below: Any, above: Any) -> Any:
    """Values as helm lays a file over the chart's own."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{name: merged(below.get(name), value) for name, value in above.items()}}
