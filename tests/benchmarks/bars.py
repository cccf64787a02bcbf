"""Draws the benchmark's picture: each figure a bar, beside the yardstick that it was measured with.

A report goes in, SVG comes out; nothing is measured here. The idea: bars of one group share a scale and never one with
another group, because only figures of the same kind and the same run can be compared.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, NamedTuple

WIDTH, LEFT, BAR, LINE, TITLE = 760, 300, 340, 22, 34
FONT = "ui-monospace,SFMono-Regular,'SF Mono',Menlo,Consolas,'Liberation Mono','DejaVu Sans Mono',monospace"
OURS, YARDSTICK, TEXT, DIM, BACK, EDGE = "#3fb950", "#8b949e", "#e6edf3", "#8b949e", "#0d1117", "#30363d"


class Bar(NamedTuple):
    """One figure. `ours`: the product's, not a yardstick's."""

    label: str
    value: float
    ours: bool


def groups(report: Mapping[str, Any]) -> dict[str, list[Bar]]:
    """What is drawn, by headline."""
    found = report["parts"]
    bare, through = found["bare_loop_paced"]["ms"], found["latency"]
    outage, restore = found["outage"], found["restore"]
    cost = report["bare_call_cpu_us"] + report["bare_loop_cpu_us"]
    return {
        "plug-ins a second, one core": [
            Bar("the processor, a call each", report["events_per_s"], ours=True),
            Bar("bare client's calls alone", found["bare_call"]["calls_per_s"], ours=False),
        ],
        "CPU microseconds of a plug-in": [
            Bar("the processor", report["cpu_us_per_event"], ours=True),
            Bar("bare call and bare loop", cost, ours=False),
        ],
        "milliseconds to the first record, at 50 events/s": [
            Bar("boost, p50", through["boost"]["requested_ms"]["p50"], ours=True),
            Bar("plug-in, p50", through["plug-in"]["requested_ms"]["p50"], ours=True),
            Bar("bare loop, p50", bare["p50"], ours=False),
            Bar("boost, p99", through["boost"]["requested_ms"]["p99"], ours=True),
            Bar("plug-in, p99", through["plug-in"]["requested_ms"]["p99"], ours=True),
            Bar("bare loop, p99", bare["p99"], ours=False),
        ],
        "milliseconds to a boost's first record, p99": [
            Bar("while Axle hangs", outage["outage_boost_ms"]["p99"], ours=True),
            Bar("while Axle is well", outage["healthy_boost_ms"]["p99"], ours=False),
        ],
        "sites restored a second": [
            Bar("the processor", restore["restore"]["sites_per_s"], ours=True),
            Bar("read, and nothing done with it", restore["bare"]["sites_per_s"], ours=False),
        ],
    }


def picture(report: Mapping[str, Any]) -> str:
    """The SVG."""
    drawn = groups(report)
    height = sum(TITLE + LINE * len(bars) for bars in drawn.values()) + 30
    shapes = "\n".join(_shapes(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" '
        f'aria-label="The benchmark: the processor beside the yardsticks of the same run">\n'
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="{BACK}" stroke="{EDGE}"/>\n'
        f'<g font-family="{FONT}" font-size="13" fill="{TEXT}">\n{shapes}\n</g>\n</svg>\n'
    )


def _shapes(drawn: Mapping[str, list[Bar]]) -> Iterator[str]:
    top = 10
    for title, bars in drawn.items():
        yield f'<text x="20" y="{top + 22}" font-weight="600">{escape(title)}</text>'
        top += TITLE
        most = max(*(bar.value for bar in bars), 1e-9)
        for bar in bars:
            width, colour = bar.value / most * BAR, OURS if bar.ours else YARDSTICK
            yield f'<text x="{LEFT - 12}" y="{top + 14}" text-anchor="end" fill="{DIM}">{escape(bar.label)}</text>'
            yield f'<rect x="{LEFT}" y="{top + 3}" width="{width:.1f}" height="14" fill="{colour}"/>'
            yield f'<text x="{LEFT + width + 8:.1f}" y="{top + 14}">{_words(bar.value)}</text>'
            top += LINE


def _words(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
