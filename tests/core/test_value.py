"""What holds for every value of the core."""

import gc
import inspect

import pytest

from processor.core import believe, decide, events, explain, intents, outputs, rules, site
from processor.core.value import Value

MODULES = (believe, decide, events, explain, intents, outputs, rules, site)
VALUES = [
    value
    for module in MODULES
    for _, value in inspect.getmembers(module, inspect.isclass)
    if issubclass(value, Value) and value is not Value
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_no_value_changes(value: type[Value]) -> None:
    """Each kind of value says of itself that it is frozen."""
    assert value.__struct_config__.frozen


def test_the_garbage_collector_never_looks_at_a_value() -> None:
    """A site is not among what it tracks, however much it holds."""
    home = site.Site("home-1", chargers=(site.Charger("c-1"), site.Charger("c-2")))
    assert not gc.is_tracked(home)
    assert not gc.is_tracked(home.chargers[0])
