"""Headers that no client library would write, and that a poll thread must survive."""

from processor.demo.kafka import Broker
from tests.raw_record import write_raw
from tests.shell.changelog import few_topics
from tests.shell.poll_bench import SECONDS, Poller


def test_a_header_whose_name_is_no_text_stops_nobody(broker: Broker) -> None:
    """The record is handed over without its headers, and what comes behind it as ever."""
    topics = few_topics(broker, "plug_in", "reroute")
    for value, name in ((b"strange", b"name \xff\xfe"), (b"good", b"name")):
        write_raw(broker.bootstrap_servers, topics.plug_in, 0, b"k", value, [(name, b"x")])
    one = Poller(broker, topics).join(4)
    try:
        assert one.begin({(topics.plug_in, 0): 0})
        read = [(record.value, record.headers) for record in one.read(2)]
    finally:
        assert one.poll.stop(SECONDS)
    assert read == [(b"strange", []), (b"good", [("name", b"x")])]
