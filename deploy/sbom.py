"""The image's list of parts as CycloneDX JSON on stdout: every Python package, and the system's where dpkg tells them.

Run inside the image's build with the interpreter whose packages are meant; it imports nothing but the standard library.
The idea: it asks what is installed, not what was asked for, so it cannot leave out what came along.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

DPKG_STATUS = Path("/var/lib/dpkg/status")
SPEC_VERSION = "1.6"
PRODUCT = "axle-processor"

Component = dict[str, object]


def python_components() -> Iterator[Component]:
    """Each installed distribution, with its licence where it says one in short."""
    for each in sorted(distributions(), key=lambda one: one.name.lower()):
        yield _component(each.name, each.version, f"pkg:pypi/{each.name.lower().replace('_', '-')}", _licence(each))


def system_components(status: str) -> Iterator[Component]:
    """Each package that `status`, dpkg's own file, calls installed."""
    for paragraph in status.split("\n\n"):
        told = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if told.get("Status", "").endswith(" installed"):
            yield _component(told["Package"], told["Version"], f"pkg:deb/debian/{told['Package']}", None)


def _licence(distribution: Distribution) -> str | None:
    metadata = distribution.metadata
    text = metadata["License-Expression"] or metadata["License"] or ""
    return text if 0 < len(text) <= 100 and "\n" not in text else None


def _component(name: str, version: str, purl: str, licence: str | None) -> Component:
    reference = f"{purl}@{quote(version, safe='')}"
    component: Component = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
    }
    return component if licence is None else {**component, "licenses": [{"license": {"name": licence}}]}


def sbom() -> dict[str, object]:
    """The whole document; the product itself is what it is about, all else its parts."""
    parts = list(python_components())
    product = next(part for part in parts if part["name"] == PRODUCT)
    system = system_components(DPKG_STATUS.read_text()) if DPKG_STATUS.exists() else ()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"component": {**product, "type": "application"}},
        "components": [*(part for part in parts if part is not product), *system],
    }


if __name__ == "__main__":
    json.dump(sbom(), sys.stdout, indent=1)
