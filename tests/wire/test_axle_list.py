"""A page of Axle's list of chargers: how it is asked for, and what is read of it."""

import json

import pytest

from processor.core.reconcile import Listed
from processor.wire.axle import Again, Reply
from processor.wire.axle_list import PAGE_MAX, Page, page_of, page_request
from tests.wire.axle_contract import check_answer, check_request
from tests.wire.axle_samples import ASSET, AXLE_ASSET, AXLE_SITE, CHARGER, Json, reply

METER: Json = ASSET | {"type": "boundary meter", "external_id": "meter-1"}


def page(*assets: Json, total: int = 7) -> Json:
    """A page as Axle writes it."""
    return {"assets": list(assets), "total_num_assets": total, "total_num_pages": 1, "page_number": 1}


def test_a_page_is_asked_for_by_its_beginning() -> None:
    """With a length that fits into what we read of an answer."""
    asked = page_request(400)
    assert (asked.endpoint, asked.method, asked.body) == ("list", "GET", None)
    assert asked.path == f"/entities/asset?limit={PAGE_MAX}&offset=400"
    check_request(asked.method, asked.path, None)


def test_a_page_tells_its_chargers_and_how_much_there_is() -> None:
    """Meters are on it as well: they count for where the next page begins, and are passed over."""
    body = page(METER, ASSET, ASSET | {"properties": {"power_kw": 7}})
    check_answer("GET", "/entities/asset", 200, body)
    charger = Listed(CHARGER, AXLE_SITE, AXLE_ASSET)
    assert page_of(reply(200, body)) == Page((charger, charger), 3, 7)
    assert page_of(reply(200, page(total=0))) == Page((), 0, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"assets": []}',
        json.dumps(page(ASSET, ASSET | {"id": "../x"})).encode(),
        json.dumps(page({"id": AXLE_ASSET})).encode(),
        json.dumps(page() | {"total_num_assets": "many"}).encode(),
    ],
)
def test_a_page_that_cannot_be_read_whole_tells_nothing(body: bytes) -> None:
    """Not even of those that could be read: the others would look gone."""
    told = page_of(Reply(200, body))
    assert isinstance(told, Again)
    assert "list with 200" in told.why


@pytest.mark.parametrize("status", [204, 302, 401, 403, 404, 422, 429, 500])
def test_every_other_status_tells_nothing(status: int) -> None:
    """Whatever the body says."""
    told = page_of(reply(status, page(ASSET)))
    assert isinstance(told, Again)
    assert str(status) in told.why
