"""The pictures of the stories: up to date, small, and readable."""

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from docs.stories.draw import HERE, SIZE, files

DRAWN = files()
PICTURES = [path for path in DRAWN if path.suffix == ".svg"]
SVG = "{http://www.w3.org/2000/svg}"


def test_pictures_and_page_are_up_to_date() -> None:
    """What is committed in `docs/stories` is what its script makes now, and no picture is left over."""
    assert {path: path.read_text() for path in DRAWN if path.exists()} == DRAWN
    assert sorted(HERE.glob("*.svg")) == sorted(PICTURES)


def test_links_of_the_page_lead_somewhere() -> None:
    """Each picture and each file that the page names is there."""
    links = re.findall(r"\]\(([^)#]+)", DRAWN[HERE / "README.md"])

    assert len(links) > 12
    assert [link for link in links if not (HERE / link).exists()] == []


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_is_small_and_asks_for_nothing(path: Path) -> None:
    """It has at most 25 KB, no script, and nothing that a reader would have to fetch."""
    content = DRAWN[path]
    urls = re.findall(r"https?://[^\"]+", content)

    assert len(content) <= 25_000
    assert urls == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<script|<image|href|@import", content)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_no_word_covers_another_or_leaves_the_picture(path: Path) -> None:
    """Every text has a place of its own within the frame."""
    root = ET.fromstring(DRAWN[path])  # noqa: S314  # we have just made it ourselves
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    boxes = []
    for text in root.iter(f"{SVG}text"):
        size = float(text.attrib.get("font-size", SIZE))
        x, y, length = (float(text.attrib[name]) for name in ("x", "y", "textLength"))
        boxes.append((x, y - 0.8 * size, x + length, y + 0.2 * size, text.text))
    outside = [box for box in boxes if box[0] < 0 or box[1] < 0 or box[2] > width or box[3] > height]
    covered = [
        (a[4], b[4]) for a, b in combinations(boxes, 2) if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]

    assert (outside, covered) == ([], [])
