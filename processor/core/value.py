"""What all of the core's values are made of.

Here lives their common base and nothing else. The one idea: a value never changes and never points back at itself, so
the garbage collector need not look at it. Being looked at, again and again while a round is in the making, was a
tenth of what a decision cost.
"""

from msgspec import Struct


class Value(Struct, frozen=True, gc=False):
    """A record that does not change: compared, copied and written by its fields."""
