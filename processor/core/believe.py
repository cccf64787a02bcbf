"""Whether Axle's answer may reach a charger, and which of its pauses.

Here lives design 4, rule 3. An answer that breaks a rule is rejected whole; what is left is then trimmed, always
towards charging. The one idea: an answer can only take time away from what was sent, and only a little of it.
"""

from processor.core.rules import Rules
from processor.core.schedule import (
    EMPTY,
    Block,
    Schedule,
    intersect,
    is_subset,
    since,
    subtract,
    total_ms,
    union,
)
from processor.core.value import Value


class Belief(Value, frozen=True):
    """The pauses to publish; or the rule that the answer broke."""

    pauses: Schedule = EMPTY
    broken_rule: str | None = None


def believe(
    sent: Schedule,
    answered: Schedule | None,
    served: Schedule,
    wanted: Schedule,
    boosted: Schedule,
    now_ms: int,
    rules: Rules,
) -> Belief:
    """Judge an answer to `sent`, for a driver who wants `wanted` with a boost in `boosted`.

    `answered` is None when it had no readable instants with a zone; `served` are pauses of this session before it.
    """
    if answered is None:
        return Belief(broken_rule="unreadable")
    if not is_subset(answered, sent):
        return Belief(broken_rule="not_a_subset")
    if not answered:
        return Belief(broken_rule="empty")
    raw = subtract(sent, answered)
    broken = _broken_cap(raw, served, rules)
    if broken:
        return Belief(broken_rule=broken)
    usable = intersect(subtract(since(raw, now_ms + rules.lead_ms), boosted), wanted)
    pauses = tuple(pause for pause in usable if pause[1] - pause[0] >= rules.pause_min_ms)
    return Belief(_without_fragments(wanted, pauses, rules))


def _broken_cap(raw: Schedule, served: Schedule, rules: Rules) -> str | None:
    if any(end - start > rules.pause_max_ms for start, end in raw):
        return "pause_too_long"
    session = union(served, raw)
    if total_ms(session) > rules.pauses_total_max_ms:
        return "pauses_too_long_in_all"
    if len(raw) + len(served) > rules.pauses_count_max:
        return "too_many_pauses"
    return None


def _without_fragments(wanted: Schedule, pauses: Schedule, rules: Rules) -> Schedule:
    """Take away pauses until none of them leaves a stretch of charging shorter than the shortest pause."""
    while True:
        victim = _fragment_maker(wanted, pauses, rules)
        if victim is None:
            return pauses
        pauses = tuple(pause for pause in pauses if pause != victim)


def _fragment_maker(wanted: Schedule, pauses: Schedule, rules: Rules) -> Block | None:
    """The pause to drop for the first fragment that pauses made: the shorter neighbour, the later of equals."""
    for start, end in subtract(wanted, pauses):
        if end - start >= rules.pause_min_ms or (start, end) in wanted:
            continue
        neighbours = [pause for pause in pauses if pause[1] == start or pause[0] == end]
        return min(neighbours, key=lambda pause: (pause[1] - pause[0], -pause[0]), default=None)
    return None
