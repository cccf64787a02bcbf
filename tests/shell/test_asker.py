"""Asking until there is an answer: what is asked again, and what ends it."""

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from processor.shell.asker import Asker
from processor.shell.records import KafkaRefused, RestoreCancelled, RestoreFailed


def question(*answers: int) -> Callable[[], int]:
    """Answers one after the other; a negative one is an error of that code."""
    coming: Iterator[int] = iter(answers)

    def ask() -> int:
        answer = next(coming)
        if answer < 0:
            raise KafkaException(KafkaError(-answer))
        return answer

    return ask


def test_an_answer_is_waited_for() -> None:
    """A broker that is on the move is asked again."""
    moves = -KafkaError.LEADER_NOT_AVAILABLE
    assert Asker(lambda: True, 20).ask("the end", question(moves, moves, 7)) == 7


def test_all_questions_have_one_deadline() -> None:
    """When it has passed, each question is asked once, and what failed is a sentence."""
    asker = Asker(lambda: True, 0)
    assert asker.ask("the end", question(7)) == 7
    with pytest.raises(RestoreFailed, match=r"the end cannot be read: .*LEADER_NOT_AVAILABLE"):
        asker.ask("the end", question(-KafkaError.LEADER_NOT_AVAILABLE, 7))


def test_a_forbidden_question_is_not_asked_again() -> None:
    """Who has no right to know is told so at once."""
    with pytest.raises(KafkaRefused, match=r"Kafka does not tell us the end: .*TOPIC_AUTHORIZATION_FAILED"):
        Asker(lambda: True, 20).ask("the end", question(-KafkaError.TOPIC_AUTHORIZATION_FAILED, 7))


def test_nobody_is_asked_when_nobody_wants_to_know() -> None:
    """A task that went ends its questions."""
    wanted = iter([True, False])
    with pytest.raises(RestoreCancelled):
        Asker(lambda: next(wanted), 20).ask("the end", question(-KafkaError.LEADER_NOT_AVAILABLE, 7))
