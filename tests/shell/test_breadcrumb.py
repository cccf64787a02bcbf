"""The breadcrumb: what is marked when a process dies is known to the next one, and only that."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from processor.shell.breadcrumb import CAREFUL_RECORDS, Breadcrumb
from tests.shell.parts import record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "volatile" / "breadcrumb"


KILLER, OTHER = record(b"", offset=7), record(b"", offset=8)


def die_at(path: Path) -> None:
    """A process that marks the record and is never heard of again."""
    assert Breadcrumb(path).mark(KILLER)


def test_a_record_that_killed_three_times_is_condemned(path: Path) -> None:
    """Twice it is tried again, alone; the fourth process does not read it any more, but all others."""
    for _ in range(3):
        die_at(path)
    crumb = Breadcrumb(path)
    assert crumb.round_max == 1
    assert crumb.mark(OTHER)
    assert not crumb.mark(KILLER)


def test_once_it_is_settled_everything_is_as_before(path: Path) -> None:
    """With the record dead-lettered and committed, rounds are large again, and the next start knows of nothing."""
    for _ in range(3):
        die_at(path)
    crumb = Breadcrumb(path)
    crumb.mark(KILLER)
    crumb.settled([KILLER])
    assert crumb.round_max is None
    assert crumb.mark(KILLER)
    crumb.close()
    assert Breadcrumb(path).round_max is None


def test_another_record_starts_a_count_of_its_own(path: Path) -> None:
    """Deaths at different records condemn none of them."""
    die_at(path)
    die_at(path)
    Breadcrumb(path).mark(OTHER)
    crumb = Breadcrumb(path)
    assert crumb.mark(OTHER)
    assert crumb.mark(KILLER)


def test_an_end_without_a_record_in_hand_is_no_crash(path: Path) -> None:
    """After a round that was committed, and after an orderly end, nobody is suspected."""
    crumb = Breadcrumb(path)
    crumb.mark(KILLER)
    crumb.settled([KILLER])
    assert Breadcrumb(path).round_max is None
    other = Breadcrumb(path)
    other.mark(KILLER)
    other.close()
    assert Breadcrumb(path).round_max is None


def test_care_ends_by_itself(path: Path) -> None:
    """A record that went to another process meanwhile does not keep rounds small for ever."""
    die_at(path)
    crumb = Breadcrumb(path)
    for _ in range(CAREFUL_RECORDS):
        assert crumb.round_max == 1
        crumb.settled([OTHER])
    assert crumb.round_max is None


@pytest.mark.parametrize("left", [b"", b"\xff" * 4000, b"\x00\x05abcde" + b"\x00" * 600 + b"\xff\xff"])
def test_a_file_of_nonsense_does_no_harm(path: Path, left: bytes) -> None:
    """Whatever stands in the file, records are read."""
    path.parent.mkdir()
    path.write_bytes(left)
    assert Breadcrumb(path).mark(KILLER)


def test_without_a_file_nothing_is_marked(tmp_path: Path) -> None:
    """Unset it does nothing; a path that cannot be used is told, and does nothing either."""
    unset = Breadcrumb()
    with capture_logs() as logs:
        unusable = Breadcrumb(tmp_path)
    assert [entry["event"] for entry in logs] == ["no breadcrumb: a record that kills us would kill us again"]
    for crumb in (unset, unusable):
        assert crumb.mark(KILLER)
        crumb.settled([KILLER])
        crumb.close()
        assert crumb.round_max is None
