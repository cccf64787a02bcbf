"""`axle-processor dlt list|show|replay`: the records that were refused, why, and how they are sent again.

Here live what is asked for and what is printed; letters are in `dlt_letters.py`, sending them in `dlt_replay.py`. The
one idea: looking changes nothing, and a replay is a plan until `--apply`.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from processor.cli.cluster import Cluster, exit_code, now_ms, reached
from processor.cli.dlt_letters import (
    TO_DO,
    Filters,
    Found,
    Letter,
    Place,
    fetch,
    find,
    in_a_line,
    key_of,
    place_of,
    plain,
    shown,
    source_of,
    to_the_second,
)
from processor.cli.dlt_replay import REPLAYS_MAX, Going, Replays, Sender, Staying
from processor.cli.schema_registry import codec_of
from processor.cli.times import told_ms
from processor.cli.wiring import limits_of
from processor.settings import Settings, SettingsWrong, load
from processor.shell.exits import EXIT_FAILURE, EXIT_USAGE
from processor.wire.avro import INPUT_RECORDS, VALUE_MAX_BYTES
from processor.wire.inputs import RejectCode

REPLAYED_AT_ONCE_MAX = 500
"""Letters in one transaction: they are held in memory, and those that are left are said."""
HEX_LINE_BYTES = 32
HEX_SHOWN_BYTES = 4096
FILE_MAX_BYTES = 4 * VALUE_MAX_BYTES
_NO_LETTER = (
    "there is no letter; it was kept for as long as the topic keeps records, or the place is not one of `dlt list`"
)


@dataclass(frozen=True, slots=True)
class DltOptions:
    """Which letters are wanted, as it was typed; `places` only for `replay`."""

    reasons: Sequence[str] = ()
    topics: Sequence[str] = ()
    sites: Sequence[str] = ()
    since: str | None = None
    json: bool = False
    timeout_seconds: float = 60.0
    places: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ReplayHow:
    """What is done with them. `fix`: a file ("-": stdin) with the event that takes the one letter's place."""

    apply: bool = False
    again: bool = False
    fix: Path | None = None


class _Wrong(Exception):
    """What was typed cannot be meant. One sentence."""


def list_verb(options: DltOptions) -> int:
    """Say what was refused: counts by reason, then a line each. Returns the exit code."""

    def work() -> int:
        filters = _filters(options)
        cluster = _reached(load(), ())
        found = find(cluster, filters, time.monotonic() + options.timeout_seconds)
        if options.json:
            print(orjson.dumps([_told(letter, found.replayed) for letter in found.letters]).decode())
            return 0
        counts = Counter(letter.reason for letter in found.letters)
        told = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
        print(f"{len(found.letters):,} dead letters" + (f": {told}" if told else ""))
        for letter in found.letters:
            print(in_a_line(letter, found.replayed))
        return 0

    return _code(work)


def show_verb(place: str, *, as_json: bool, timeout_seconds: float) -> int:
    """Say all of one letter: why it was refused, what to do, its headers and its value. Returns the exit code."""

    def work() -> int:
        settings = load()
        cluster = _reached(settings, ())
        wanted = _place(place, cluster)
        letter = fetch(cluster, [wanted], time.monotonic() + timeout_seconds).get(wanted)
        if letter is None or letter.source.topic == cluster.names.dead_letter:
            print(f"{place}: {_NO_LETTER}", file=sys.stderr)
            return EXIT_FAILURE
        event = _replays(settings, cluster).shown(letter)
        print(_json(letter, event) if as_json else _page(letter, event, cluster))
        return 0

    return _code(work)


def replay_verb(options: DltOptions, how: ReplayHow) -> int:
    """Say what would be sent again, or send it. Returns the exit code: 1 when a letter that was named stays."""

    def work() -> int:
        filters = _filters(options)
        if how.fix and len(options.places) != 1:
            raise _Wrong("--fix takes the place of one letter's event; name that letter: PARTITION@OFFSET")
        fix = _read(how.fix) if how.fix else None
        settings = load()
        cluster = _reached(settings, (settings.topics.reroute,))
        replays, named = _replays(settings, cluster), [_place(place, cluster) for place in options.places]
        # Before the letters are looked at: from here on nobody else replays.
        sender = Sender(cluster) if how.apply else None
        found = find(cluster, filters, time.monotonic() + options.timeout_seconds)
        chosen, staying = _chosen(found, named, again=how.again)
        values = fetch(cluster, chosen[:REPLAYED_AT_ONCE_MAX], time.monotonic() + options.timeout_seconds)
        judged = [replays.judge(letter, fix) for _, letter in sorted(values.items(), key=_by_time)]
        going = [each for each in judged if isinstance(each, Going)]
        staying += [each for each in judged if isinstance(each, Staying)]
        if sender and going:
            sender.send(going)
        left = max(len(chosen) - REPLAYED_AT_ONCE_MAX, 0)
        print(_replay_json(going, staying, left, how) if options.json else _replay_page(going, staying, left, how))
        return EXIT_FAILURE if named and staying else 0

    return _code(work)


def _code(work: Callable[[], int]) -> int:
    def checked() -> int:
        try:
            return work()
        except _Wrong as wrong:
            print(f"usage: {wrong}", file=sys.stderr)
            return EXIT_USAGE

    return exit_code(checked, "stopped; with --apply, look at `dlt list` for what was replayed: all of it or nothing")


def _reached(settings: Settings, more: Sequence[str]) -> Cluster:
    return reached(settings, (settings.topics.dead_letter, *more))


def _replays(settings: Settings, cluster: Cluster) -> Replays:
    try:
        return Replays(cluster, limits_of(settings), codec_of(settings, INPUT_RECORDS.values()))
    except ValueError as wrong:
        raise SettingsWrong(str(wrong)) from wrong


def _filters(options: DltOptions) -> Filters:
    unknown = [reason for reason in options.reasons if reason not in list(RejectCode)]
    if unknown:
        raise _Wrong(f"--reason: {unknown[0]!r} is none of {', '.join(RejectCode)}")
    try:
        since_ms = None if options.since is None else told_ms(options.since, now_ms())
    except ValueError as wrong:
        raise _Wrong(f"--since: {wrong}") from None
    return Filters(options.reasons, options.topics, options.sites, since_ms)


def _place(text: str, cluster: Cluster) -> Place:
    try:
        return place_of(text, cluster)
    except ValueError as wrong:
        raise _Wrong(str(wrong)) from None


def _read(file: Path) -> object:
    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(FILE_MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(FILE_MAX_BYTES + 1)
        return orjson.loads(text)
    except OSError as error:
        raise _Wrong(f"--fix: {error.strerror}: {file}") from error
    except orjson.JSONDecodeError as error:
        raise _Wrong(
            f"--fix: it is no JSON of at most {FILE_MAX_BYTES} bytes ({error.msg}); give the `event` of `dlt show "
            "--json`, corrected"
        ) from None


def _chosen(found: Found, named: Sequence[Place], *, again: bool) -> tuple[list[Place], list[Staying]]:
    """Which letters are looked at, oldest first; and of those that were named, which are not, and why."""
    there = [letter.place for letter in found.letters]
    wanted = [place for place in there if place in named] if named else there
    staying = [Staying(place, f"{_NO_LETTER}, or it does not fit the filters") for place in named if place not in there]
    if again:
        return wanted, staying
    staying += [
        Staying(place, "it was replayed already; --again sends it once more, which changes nothing that it changed")
        for place in wanted
        if place in found.replayed
    ]
    return [place for place in wanted if place not in found.replayed], staying


def _by_time(item: tuple[Place, Letter]) -> tuple[int, Place]:
    return item[1].first_read_ms, item[0]


def _told(letter: Letter, replayed: set[Place]) -> dict[str, object]:
    return {
        "letter": f"{letter.place.partition}@{letter.place.offset}",
        "at": to_the_second(letter.at_ms),
        "reason": letter.reason,
        "says": letter.says,
        "source": {"topic": letter.source.topic, "partition": letter.source.partition, "offset": letter.source.offset},
        "key": None if letter.first_key is None else key_of(letter),
        "bytes": letter.size,
        "replays": letter.replays,
        "replayed": letter.place in replayed,
    }


def _json(letter: Letter, event: Mapping[str, object] | None) -> str:
    told = _told(letter, set())
    del told["replayed"]  # it would have to be looked for in the whole topic
    more = {
        "first_read_at": to_the_second(letter.first_read_ms),
        "what_to_do": _to_do(letter),
        "headers": [[name, shown(value)] for name, value in letter.headers],
        "event": event,
        "hex": (letter.value or b"").hex(),
    }
    return orjson.dumps(told | more).decode()


def _page(letter: Letter, event: Mapping[str, object] | None, cluster: Cluster) -> str:
    lines = [
        f"letter {letter.place.partition}@{letter.place.offset}: {letter.says} ({letter.reason})",
        f"What to do: {_to_do(letter)}",
        f"It was read from {source_of(letter)}, for the first time at {to_the_second(letter.first_read_ms)}"
        + (f", and was replayed {letter.replays} times of at most {REPLAYS_MAX}." if letter.replays else "."),
        f"Its key is {key_of(letter)}." if letter.first_key is not None else "It has no key.",
    ]
    others = [(name, value) for name, value in letter.headers if not name.startswith("dlt-")]
    if others:
        lines += ["Its headers:", *(f"  {plain(name)}: {shown(value)}" for name, value in others)]
    if event is not None:
        kind = letter.kind(cluster.names)
        lines += [f"It says, as {kind}:", orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()]
        return "\n".join(lines)
    value = (letter.value or b"")[:HEX_SHOWN_BYTES]
    cut = f", the first {len(value)} of them" if len(value) < letter.size else ""
    lines.append(f"It does not say what can be read; its {letter.size} bytes{cut}:")
    return "\n".join(
        [*lines, *(f"  {value[at : at + HEX_LINE_BYTES].hex()}" for at in range(0, len(value), HEX_LINE_BYTES))]
    )


def _replay_json(going: Sequence[Going], staying: Sequence[Staying], left: int, how: ReplayHow) -> str:
    told = {
        "applied": how.apply,
        "going": [
            {
                "letter": f"{each.letter.place.partition}@{each.letter.place.offset}",
                "event_id": each.event_id,
                "site_id": each.site_id,
                "replay": each.letter.replays + 1,
            }
            for each in going
        ],
        "staying": [{"letter": f"{each.place.partition}@{each.place.offset}", "why": each.why} for each in staying],
        "left": left,
    }
    return orjson.dumps(told).decode()


def _replay_page(going: Sequence[Going], staying: Sequence[Staying], left: int, how: ReplayHow) -> str:
    lines = [f"letter {each.place.partition}@{each.place.offset} stays: {each.why}" for each in staying]
    goes = "went" if how.apply else "would go"
    lines += [
        f"letter {each.letter.place.partition}@{each.letter.place.offset} {goes}: event {each.event_id} of site "
        f"{each.site_id}, replay {each.letter.replays + 1} of at most {REPLAYS_MAX}"
        for each in going
    ]
    more = f"; {left:,} more are left for another run" if left else ""
    if how.apply:
        lines.append(f"{len(going):,} replayed, {len(staying):,} stayed{more}; outcomes say what became of them")
    else:
        lines.append(f"nothing was sent; --apply would replay {len(going):,}, {len(staying):,} stay{more}")
    return "\n".join(lines)


def _to_do(letter: Letter) -> str:
    if letter.reason in list(RejectCode):
        return TO_DO[RejectCode(letter.reason)]
    return "Its reason is not known to this release; use the command of the release that runs."
