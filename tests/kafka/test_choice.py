"""Which broker a test run gets for `TEST_KAFKA`."""

import pytest

from tests.broker import DEFAULT_IMAGE, choose


def has_image(image: str) -> str | None:
    return None


def has_no_docker(image: str) -> str | None:
    return "Docker does not run here"


def must_not_be_asked(image: str) -> str | None:
    raise AssertionError("Docker was asked without need")


def test_auto_takes_a_container_that_needs_no_download() -> None:
    """By default the broker is a container when Docker has the image already."""
    choice = choose("auto", DEFAULT_IMAGE, has_image)
    assert (choice.kind, choice.target) == ("container", DEFAULT_IMAGE)


def test_auto_takes_the_embedded_kafka_otherwise() -> None:
    """By default the broker is the embedded Kafka when there is no container to be had, and the header says why."""
    for asked in ("auto", "", " "):
        choice = choose(asked, DEFAULT_IMAGE, has_no_docker)
        assert choice.kind == "embedded"
        assert str(choice) == "embedded (TEST_KAFKA=auto, and Docker does not run here)"


@pytest.mark.parametrize(
    ("asked", "kind", "target"),
    [
        ("container", "container", "registry.example/kafka:7.9.0"),
        ("embedded", "embedded", ""),
        ("mock", "mock", ""),
        ("127.0.0.1:9092", "external", "127.0.0.1:9092"),
    ],
)
def test_a_named_broker_is_taken_unasked(asked: str, kind: str, target: str) -> None:
    """A broker that is named is taken, whatever Docker would say."""
    choice = choose(asked, "registry.example/kafka:7.9.0", must_not_be_asked)
    assert (choice.kind, choice.target) == (kind, target)
    assert f"TEST_KAFKA={asked}" in str(choice)


def test_a_word_that_names_no_broker_is_an_error() -> None:
    """A word that names no broker is an error that lists the words that do."""
    with pytest.raises(ValueError, match="TEST_KAFKA=kafka names no broker: give auto, container, embedded, mock"):
        choose("kafka", DEFAULT_IMAGE, must_not_be_asked)
