"""Renders the chart into deploy/kubernetes/axle-processor.yaml for those who have no helm. It needs helm.

What the Prometheus operator needs is not rendered but written by `generate.py`, so that alerts change without helm, and
stands in a file of its own, so that a plain `kubectl apply` never fails over a kind that is not there. The idea: the
file begins with a fingerprint of what it was made from, by which drift is found where there is no helm.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHART, VALUES = HERE / "helm" / "axle-processor", HERE / "kubernetes" / "values.yaml"
TARGET = HERE / "kubernetes" / "axle-processor.yaml"
TEMPLATES = (
    "serviceaccount.yaml",
    "configmap.yaml",
    "service.yaml",
    "statefulset.yaml",
    "poddisruptionbudget.yaml",
    "networkpolicy.yaml",
)


def head() -> str:
    """The first line: what it is, and the fingerprint of what it is made from."""
    sources = [CHART / "Chart.yaml", CHART / "values.yaml", VALUES, CHART / "templates" / "_helpers.tpl"]
    made_from = b"".join(path.read_bytes() for path in [*sources, *(CHART / "templates" / name for name in TEMPLATES)])
    fingerprint = hashlib.sha256(made_from).hexdigest()[:16]
    return f"# Rendered from deploy/helm/axle-processor by `make manifests`: {fingerprint}\n"


def rendered() -> str:
    """The whole file. Raises CalledProcessError where helm refuses."""
    command = [
        "helm",
        "template",
        "axle-processor",
        str(CHART),
        "--namespace",
        "axle-processor",
        "--values",
        str(VALUES),
    ]
    shown = [word for name in TEMPLATES for word in ("--show-only", f"templates/{name}")]
    told = subprocess.run([*command, *shown], capture_output=True, text=True, check=True)
    lines = told.stdout.splitlines()
    # Who has no helm cannot look into its templates, nor will helm own what it did not install.
    kept = (line for line in lines if not line.startswith("# Source:") and "managed-by: Helm" not in line)
    return head() + "\n".join(kept) + "\n"


def main() -> int:
    """Write the file, or with `--check` say that it is out of date."""
    text = rendered()
    if "--check" not in sys.argv:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    sys.stderr.write(f"out of date: {TARGET.name}: make manifests\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
