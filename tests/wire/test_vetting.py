"""Schemas that hostile bytes are read with: what they name by its number is there."""

import json

import pytest

from processor.core.events import BoostAction, Input, Source, UserBoost
from processor.shell.schema_files import schema_texts
from processor.wire.avro import Codec, Undecodable, fingerprint_of

TEXTS = schema_texts()
CODEC = Codec(TEXTS)
AT_MS = 1_763_800_000_000
BOOST = UserBoost("e-2", AT_MS, Source("", 0, 0), "s-1", "c-1", BoostAction.BOOST, AT_MS + 1)
OLDER_BOOST = json.dumps(
    {**json.loads(TEXTS["ev.user-boost.v1"]), "fields": json.loads(TEXTS["ev.user-boost.v1"])["fields"][:-1]}
)


@pytest.mark.parametrize("codec", [CODEC, Codec(TEXTS, older=[OLDER_BOOST])], ids=["our schema", "an older one"])
@pytest.mark.parametrize("number", range(1, 8, 2), ids=lambda number: f"-{(number + 1) // 2}")
def test_no_branch_and_no_symbol_is_counted_from_the_end(codec: Codec, number: int) -> None:
    """A union's branch and an enum's symbol below zero are refused: Python would take the last ones for them."""
    value = CODEC.encode_input(BOOST)
    if codec is not CODEC:
        value = value[:2] + fingerprint_of(OLDER_BOOST) + value[10:-1]
    action = value.index(b"c-1") + 3
    assert codec.decode(Input.USER_BOOST, value)["action"] == "BOOST"
    for at in (action, action + 1):
        with pytest.raises(Undecodable, match="IndexError") as refused:
            codec.decode(Input.USER_BOOST, value[:at] + bytes([number]) + value[at + 1 :])
        assert refused.value.code == "decode"
