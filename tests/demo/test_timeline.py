"""The timeline: what it shows, that it fits its terminal, and that the README's picture is up to date."""

import io
import runpy
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import pytest
from rich.console import Console

from processor.core.outputs import Result, Status
from processor.core.schedule import HOUR_MS, MINUTE_MS
from processor.demo.audience import Lines, Picture, summary
from processor.demo.charger import Doing
from processor.demo.rehearsal import Rehearsal
from processor.demo.scene import Row, Scene
from processor.demo.timeline import BOOST, CHARGE, IDLE, PAUSE, Frame, bar_cells, draw, line, progress
from processor.demo.verifier import report, verify
from tests.demo.tale import BOOST_UNTIL, T0, Tale, right_tale

ROOT = Path(__file__).resolve().parents[2]


def frame(now_ms: int = T0 + 5_000, **fields: object) -> Frame:
    """A moment of a run."""
    start = Frame(now_ms, 5.0, "127.0.0.1:9092 (real Apache Kafka)", "http://127.0.0.1:8080", 5.0)
    return replace(start, **fields)  # type: ignore[arg-type]


def scene_of(tale: Tale) -> Scene:
    """A scene that has heard the whole tale, in the order of its times."""
    scene = Scene()
    history = tale.history
    for put in history.puts:
        scene.hear_put(put, 1.0)
    for published in history.published:
        scene.hear_published(published, 1.0)
    for settled in history.settled:
        scene.hear_settled(settled)
    return scene


def drawn(scene: Scene, at: Frame, width: int, height: int) -> list[str]:
    """The picture as lines of text, without colours."""
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, legacy_windows=False)
    console.print(draw(scene, at, width, height, UTC))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def row(effective: int = 4, **fields: object) -> Row:
    """A charger that charges for so many hours from now on."""
    start = Row("c-1", Doing.CHARGING, ((T0, T0 + effective * HOUR_MS),), (), (), None)
    return replace(start, **fields)  # type: ignore[arg-type]


def test_heights_say_what_a_charger_does() -> None:
    """Ten hours as ten marks: a boost is the tallest, then charging, then a pause, then nothing."""
    charger = row(
        effective=6,
        boosted=((T0, T0 + 2 * HOUR_MS),),
        pauses=((T0 + 3 * HOUR_MS, T0 + 4 * HOUR_MS),),
    )
    assert list(bar_cells(charger, T0, 10)) == [BOOST] * 2 + [CHARGE] + [PAUSE] + [CHARGE] * 2 + [IDLE] * 4


def test_a_short_pause_does_not_go_unseen() -> None:
    """Five minutes show even where a mark stands for an hour."""
    pause = ((T0 + 55 * MINUTE_MS, T0 + 60 * MINUTE_MS),)
    assert bar_cells(row(pauses=pause), T0, 10)[0] == PAUSE


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (60, 15), (200, 60)])
def test_a_picture_fits_its_terminal(width: int, height: int) -> None:
    """No line is longer than the terminal is wide, and there are no more lines than it has."""
    rehearsal = Rehearsal(60, T0)
    rehearsal.play(150, every_ms=100)
    lines = drawn(rehearsal.scene, frame(rehearsal.now_ms, fault="hang", findings=3), width, height)
    assert max(map(len, lines)) <= width
    assert height // 2 < len(lines) <= height


def test_a_picture_tells_what_matters() -> None:
    """Broker, page, counts, promises, hours, chargers, marks and news are all there."""
    rehearsal = Rehearsal(12, T0)
    rehearsal.play(100, every_ms=100)
    text = "\n".join(drawn(rehearsal.scene, frame(rehearsal.now_ms, findings=0, duration_seconds=90.0), 120, 40))
    for words in (
        "0:05 of 1:30",
        "127.0.0.1:9092 (real Apache Kafka)",
        "http://127.0.0.1:8080",
        "plug-ins",
        "kept so far",
        "c-001",
        "paused for Axle",
        "-> charges as asked",
    ):
        assert words in text
    assert PAUSE in text
    assert BOOST in text


def test_chargers_that_do_not_fit_are_counted() -> None:
    """A small terminal shows the first chargers and says how many more there are."""
    rehearsal = Rehearsal(30, T0)
    rehearsal.play(100, every_ms=100)
    lines = drawn(rehearsal.scene, frame(rehearsal.now_ms), 80, 20)
    shown = sum(text.startswith(" c-0") for text in lines)
    assert any(f"+{30 - shown} more" in text for text in lines)


def test_promises_and_faults_are_said_aloud() -> None:
    """A broken promise and a fault of Axle's stand in the picture."""
    text = "\n".join(drawn(scene_of(right_tale()), frame(findings=2, fault="hang"), 80, 24))
    assert "BROKEN 2 times" in text
    assert "Axle's fault now: hang" in text
    assert "being watched" in "\n".join(drawn(Scene(), frame(), 80, 24))


def test_each_event_becomes_one_line_of_news() -> None:
    """The lines name the charger, what happened, and what followed; times are of the zone that is asked for."""
    scene = scene_of(right_tale())
    assert [" ".join(line(news, UTC).split()) for news in scene.news] == [
        "16:40:00 c-1 plugged in, joining Axle -> paused 19:40-20:10",
        "16:40:01 c-1 boosted -> charges as asked",
        "16:40:02 home-1 withdrew -> charges as asked, gone at Axle",
    ]


def test_news_wait_for_the_record_that_they_tell_of() -> None:
    """An outcome that is read before its record still tells the pause."""
    history = right_tale().history
    scene = Scene()
    scene.hear_put(history.puts[0], 1.0)
    scene.hear_settled(history.settled[0])
    assert not scene.news
    for published in history.published[:2]:
        scene.hear_published(published, 1.0)
    assert [news.result for news in scene.news] == [Result.MODIFIED]
    assert scene.news[0].pauses


def test_a_boost_shows_until_it_is_over() -> None:
    """The window of a boost comes from the event, because no record tells it."""
    tale = right_tale()
    tale.history.published = tale.history.published[:4]
    scene = scene_of(tale)
    assert scene.rows(T0 + 5_000)[0].boosted == ((T0 + 5_000, BOOST_UNTIL),)
    assert scene.rows(BOOST_UNTIL)[0].boosted == ()


def test_a_session_that_is_over_leaves_an_empty_row() -> None:
    """After the end of a schedule the charger is free, and nothing is drawn."""
    at = scene_of(right_tale()).rows(T0 + 9 * HOUR_MS)[0]
    assert (at.doing, at.effective, at.pauses) == (Doing.FREE, (), ())


def test_lines_tell_events_and_progress() -> None:
    """Without a terminal each event is a line, told once, and progress is a line every few seconds."""
    stream = io.StringIO()
    lines = Lines(stream, each_event=True)
    scene = scene_of(right_tale())
    for seconds in (1.0, 2.0, 5.5, 6.0):
        lines.show(scene, frame(elapsed_seconds=seconds))
    told = stream.getvalue().splitlines()
    assert len(told) == 4
    assert "plugged in" in told[0]
    assert told[3] == progress(scene, frame(elapsed_seconds=5.5))


def test_headless_lines_are_progress_alone() -> None:
    """Headless, events are not told one by one."""
    stream = io.StringIO()
    lines = Lines(stream, each_event=False)
    lines.show(scene_of(right_tale()), frame(elapsed_seconds=5.5, fault="hang", duration_seconds=30.0))
    assert "1 plug-in, 1 boost or change, 1 withdrawal" in stream.getvalue()
    assert "5.5 of 30 s" in stream.getvalue()
    assert stream.getvalue().strip().endswith("Axle's fault: hang")


def test_the_terminal_is_given_back() -> None:
    """The picture is drawn on a screen of its own, which is left at the end, however often the end is told."""
    stream = io.StringIO()
    picture = Picture(Console(file=stream, force_terminal=True, width=80, height=24))
    picture.say("starting")
    picture.show(scene_of(right_tale()), frame())
    picture.end()
    picture.end()
    drawing = stream.getvalue()
    places = [drawing.index(part) for part in ("starting", "\x1b[?1049h", "c-1", "\x1b[?1049l")]
    assert places == sorted(places)


def test_a_summary_says_what_was_kept_and_what_was_not() -> None:
    """Figures, verdicts and findings stand in the summary, which fits 80 columns while all is well."""
    tale = right_tale()
    well = summary(report(tale.history, verify(tale.history), "kafka", 1.0, 30.0), "report.json")
    assert max(map(len, well.splitlines())) <= 80
    assert well.count("  kept") == 4
    assert "report: report.json" in well
    assert "axle-processor demo --fault hang" in well
    tale.publish("plug", Status.MODIFIED, 3000, ((T0 + HOUR_MS, T0 + 2 * HOUR_MS),))
    ill = summary(report(tale.history, verify(tale.history), "kafka", 1.0, 30.0))
    assert "BROKEN" in ill
    assert "although leave came after it" in ill


def test_the_picture_of_the_readme_is_up_to_date() -> None:
    """`docs/pictures/timeline.svg` is what its script draws now."""
    drawn_now = runpy.run_path(str(ROOT / "docs/pictures/timeline.py"))["picture"]()
    assert (ROOT / "docs/pictures/timeline.svg").read_text() == drawn_now
