"""Faults on demand: which call goes wrong, and how, without any chance in it.

Here live the rules, their reading and their counting, and what a fault makes of an answer; sleeping, cutting a
connection and sending bytes slowly is done in `axle.py`. The idea: a rule is a row of plain JSON, and whether it
fires is a function of its position, the seed and how many calls it has seen, so that a failing run can be repeated.

Rules are asked in order. `slow` adds to the time a call takes and the next rules are asked as well; any other
fault ends the search, so the rules after it do not count that call.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from processor.demo.axle_forms import Block, blocks_body
from processor.demo.axle_world import fraction, without

ENDPOINTS = frozenset(
    {"token", "onboard", "look-up", "site", "asset", "schedule", "offboard", "unenrol", "rewards", "examples"}
)
METHODS = frozenset({"GET", "POST", "DELETE"})
RULES_MAX = 1000
MIB = 1024 * 1024

STATUS_FAULTS: dict[str, tuple[int, str]] = {
    "400": (400, "Invalid request"),
    "401": (401, "Could not validate credentials"),
    "403": (403, "Site lacks the limited_pause dispatch consent"),
    "404": (404, "Not found or not authorized to access"),
    "409": (409, "Site or asset already exists"),
    "422": (422, "Site is not eligible for the requested dispatch method"),
    "422-list": (422, "value is not valid"),
    "429": (429, "Too many requests"),
    "500": (500, "Internal server error"),
    "502": (502, "Bad gateway"),
    "503": (503, "Service unavailable"),
    "504": (504, "Gateway timeout"),
}
"""Faults that answer instead of Axle, before anything has an effect: name to status and `detail`."""

SCHEDULE_FAULTS = frozenset({"answer", "non-subset", "naive-times"})
"""Faults that change what Axle says about a schedule; other endpoints do not know them."""

BYTES_FAULTS = frozenset({"broken-json", "gzip-bomb", "big-body"})
"""Faults that change the bytes of an answer and leave its meaning alone."""

_PARAMETERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(STATUS_FAULTS, frozenset({"detail"})),
    "429": frozenset({"detail", "retry_after_seconds"}),
    "503": frozenset({"detail", "retry_after_seconds"}),
    "redirect": frozenset({"location"}),
    "slow": frozenset({"latency_ms", "jitter_ms"}),
    "hang": frozenset(),
    "effect-then-timeout": frozenset(),
    "reset": frozenset(),
    "drip": frozenset({"interval_ms"}),
    "broken-json": frozenset(),
    "gzip-bomb": frozenset({"size_bytes"}),
    "big-body": frozenset({"size_bytes"}),
    "answer": frozenset({"answer"}),
    "non-subset": frozenset({"minutes"}),
    "naive-times": frozenset(),
}
_DEFAULTS: dict[str, float] = {
    "latency_ms": 1000,
    "jitter_ms": 0,
    "interval_ms": 1000,
    "size_bytes": 64 * MIB,
    "minutes": 30,
}
_RANGES: dict[str, tuple[float, float]] = {
    "latency_ms": (0, 600_000),
    "jitter_ms": (0, 600_000),
    "interval_ms": (1, 60_000),
    "size_bytes": (1, 256 * MIB),
    "minutes": (1, 1440),
    "retry_after_seconds": (0, 86_400),
    "share": (0, 1),
    "after_calls": (0, 1_000_000_000),
    "count": (0, 1_000_000_000),
}
_TEXTS = frozenset({"detail", "location", "endpoint", "method", "external_id", "mpan"})
_COMMON = frozenset({"endpoint", "fault", "share", "after_calls", "count", "method", "external_id", "mpan"})


class FaultsError(ValueError):
    """A list of fault rules that cannot be read; the message is one sentence for whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule is held against: the endpoint and, where the call tells, whose charger and site it is about."""

    endpoint: str
    method: str
    external_id: str | None = None
    mpan: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: `fault` for the calls that match; `source` is the JSON it came from.

    `share` of the matching calls, after the first `after_calls` of them, at most `count` times (None: no end).
    """

    endpoint: str
    fault: str
    share: float
    after_calls: int
    count: int | None
    method: str | None
    external_id: str | None
    mpan: str | None
    source: Mapping[str, Any]

    def matches(self, subject: Subject) -> bool:
        """True when the call is one of those that this rule is about."""
        return (
            self.endpoint in {"*", subject.endpoint}
            and self.method in {None, subject.method}
            and self.external_id in {None, subject.external_id}
            and self.mpan in {None, subject.mpan}
            and (self.fault not in SCHEDULE_FAULTS or subject.endpoint == "schedule")
        )

    def number(self, name: str) -> float:
        """A numeric parameter of the fault, or its default."""
        value: float = self.source.get(name, _DEFAULTS.get(name, 0))
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """What happens to one call: it takes `latency_ms` longer, and `rule` (None: nothing else) applies."""

    latency_ms: float = 0
    rule: Rule | None = None

    @property
    def name(self) -> str | None:
        """How the call log names it: `slow`, the fault, or both joined by a plus; None for a call left alone."""
        names = ["slow"] if self.latency_ms else []
        return "+".join([*names, self.rule.fault] if self.rule else names) or None


@dataclass(slots=True)
class _Count:
    seen: int = 0
    fired: int = 0


@dataclass(slots=True)
class FaultPlan:
    """The rules in force, with what each has seen since they were set."""

    rules: Sequence[Rule]
    seed: int = 0
    _counts: list[_Count] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = [_Count() for _ in self.rules]

    def choose(self, subject: Subject) -> Choice:
        """Decides about one call, and counts it."""
        latency_ms = 0.0
        for position, rule in enumerate(self.rules):
            if not rule.matches(subject) or not self._fires(position, rule):
                continue
            if rule.fault != "slow":
                return Choice(latency_ms, rule)
            drawn = fraction(self.seed, "jitter", position, self._counts[position].seen)
            latency_ms += rule.number("latency_ms") + drawn * rule.number("jitter_ms")
        return Choice(latency_ms)

    def _fires(self, position: int, rule: Rule) -> bool:
        count = self._counts[position]
        count.seen += 1
        if count.seen <= rule.after_calls or (rule.count is not None and count.fired >= rule.count):
            return False
        if rule.share < 1 and fraction(self.seed, "share", position, count.seen) >= rule.share:
            return False
        count.fired += 1
        return True


def read_rules(value: object) -> list[Rule]:
    """Rules from decoded JSON, a list of objects; FaultsError names the first row that is wrong, and why."""
    if not isinstance(value, list):
        raise FaultsError("the faults must be a JSON list of rules, [] for none")
    if len(value) > RULES_MAX:
        raise FaultsError(f"there are {len(value)} rules; at most {RULES_MAX} are taken")
    return [_read_rule(row, f"rule {position}") for position, row in enumerate(value, start=1)]


def _read_rule(row: object, where: str) -> Rule:
    if not isinstance(row, dict):
        raise FaultsError(f"{where} must be a JSON object, such as {{'endpoint': '*', 'fault': 'hang'}}")
    _check_values(row, where)
    fault = str(row.get("fault", "answer" if "answer" in row else ""))
    if fault not in _PARAMETERS:
        raise FaultsError(f"{where} names the fault {fault!r}; known are {', '.join(sorted(_PARAMETERS))}")
    unknown = row.keys() - _COMMON - _PARAMETERS[fault]
    if unknown:
        raise FaultsError(f"{where} has {sorted(unknown)}, which the fault {fault!r} does not take")
    endpoint = row.get("endpoint", "schedule" if fault in SCHEDULE_FAULTS else "*")
    if endpoint != "*" and endpoint not in ENDPOINTS:
        raise FaultsError(f"{where} names the endpoint {endpoint!r}; known are *, {', '.join(sorted(ENDPOINTS))}")
    if fault in SCHEDULE_FAULTS and endpoint not in {"*", "schedule"}:
        raise FaultsError(f"{where}: the fault {fault!r} is for the endpoint schedule, not {endpoint}")
    if row.get("method") is not None and row["method"] not in METHODS:
        raise FaultsError(f"{where} names the method {row['method']!r}; known are {', '.join(sorted(METHODS))}")
    if fault == "answer":
        _answer_blocks(row.get("answer"), where)
    return Rule(
        endpoint=str(endpoint),
        fault=fault,
        share=row.get("share", 1.0),
        after_calls=row.get("after_calls", 0),
        count=row.get("count"),
        method=row.get("method"),
        external_id=row.get("external_id"),
        mpan=row.get("mpan"),
        source=row,
    )


def _check_values(row: Mapping[str, Any], where: str) -> None:
    for name, value in row.items():
        if name in _TEXTS and value is not None and not isinstance(value, str):
            raise FaultsError(f"{where}: {name} must be a text")
        if name not in _RANGES or (name == "count" and value is None):
            continue
        least, most = _RANGES[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise FaultsError(f"{where}: {name} must be a number between {least} and {most}")


def _answer_blocks(answer: object, where: str) -> tuple[str, list[Block]]:
    """("pauses" or "blocks", the blocks) of a forced answer."""
    sentence = (
        f"{where}: answer must be {{'pauses': [[start, end], ...]}} or {{'blocks': [[start, end], ...]}}, "
        "each an ISO 8601 text with a time zone"
    )
    if not isinstance(answer, dict) or len(answer) != 1 or not answer.keys() <= {"pauses", "blocks"}:
        raise FaultsError(sentence)
    [(kind, pairs)] = answer.items()
    try:
        blocks = [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in pairs]
    except (TypeError, ValueError) as error:
        raise FaultsError(sentence) from error
    if any(instant.tzinfo is None for block in blocks for instant in block):
        raise FaultsError(sentence)
    return kind, blocks


def status_answer(rule: Rule) -> tuple[int, object, dict[str, str]]:
    """(status, JSON body, headers) of a fault that answers instead of Axle."""
    if rule.fault == "redirect":
        return 307, {"detail": "Temporary redirect"}, {"location": rule.source.get("location", "/elsewhere")}
    status, usual = STATUS_FAULTS[rule.fault]
    detail: object = rule.source.get("detail", usual)
    if rule.fault == "422-list":
        detail = [{"loc": ["body"], "msg": detail, "type": "value_error"}]
    headers: dict[str, str] = {"www-authenticate": "Bearer"} if status == 401 else {}
    if status == 429 or "retry_after_seconds" in rule.source:
        headers["retry-after"] = str(int(rule.source.get("retry_after_seconds", 1)))
    return status, {"detail": detail}, headers


def rewrite_schedule(rule: Rule, asked: Iterable[Block], answered: Sequence[Mapping[str, str]]) -> object:
    """The answer body that a schedule fault puts in place of `answered`, for the blocks that were `asked`."""
    blocks = [dict(block) for block in answered]
    if rule.fault == "answer":
        kind, given = _answer_blocks(rule.source["answer"], "the rule")
        blocks = blocks_body(without(asked, given) if kind == "pauses" else given)
    elif rule.fault == "non-subset":
        extended = max(end for _, end in asked) + timedelta(minutes=rule.number("minutes"))
        blocks[-1]["end_timestamp"] = extended.isoformat()
    else:
        blocks = [{name: text.removesuffix("+00:00") for name, text in block.items()} for block in blocks]
    return {"modified_charging_schedule": blocks}


def rewrite_bytes(rule: Rule, body: bytes) -> tuple[bytes, dict[str, str]]:
    """(body, further headers) of one of the `BYTES_FAULTS`. Takes about a second for the largest gzip bomb.

    The bloat is white space before the JSON, so that a client without a limit would read a right answer.
    """
    if rule.fault == "broken-json":
        return body[: len(body) // 2], {}
    if rule.fault == "big-body":
        return b" " * int(rule.number("size_bytes")) + body, {}
    start, deflater = _deflated_blanks(int(rule.number("size_bytes")))
    rest = deflater.copy()
    return start + rest.compress(body) + rest.flush(), {"content-encoding": "gzip"}


@lru_cache(maxsize=4)
def _deflated_blanks(size_bytes: int) -> tuple[bytes, "zlib._Compress"]:
    deflater = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    whole, rest = divmod(size_bytes, MIB)
    parts = [deflater.compress(b" " * MIB) for _ in range(whole)]
    return b"".join([*parts, deflater.compress(b" " * rest)]), deflater
