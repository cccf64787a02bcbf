"""Finds the published Avro schemas on disk, and reads them once at start.

Nothing else about schemas lives here: what they mean is the business of `wire/avro.py`. The one idea: an installed
wheel carries them inside the package, a checkout beside it.
"""

from collections.abc import Sequence
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (_PACKAGE / "schemas", _PACKAGE.parent / "schemas")


def schema_texts(folders: Sequence[Path] = FOLDERS) -> dict[str, str]:
    """The text of each schema by its name (the default name of its topic), from the first folder that has any.

    Raises FileNotFoundError with a sentence when no folder has one.
    """
    for folder in folders:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.avsc"))}
        if texts:
            return texts
    looked = " and ".join(str(folder) for folder in folders)
    raise FileNotFoundError(f"The Avro schemas (*.avsc) are in neither of {looked}: install axle-processor again.")
