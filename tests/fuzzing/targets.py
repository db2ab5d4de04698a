"""The targets: each takes any bytes, and raises where a promise breaks."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from fuzzing.answers import read_answers
from fuzzing.configurations import load_configuration
from fuzzing.conversations import hear_long_polling, hear_websocket
from fuzzing.damages import read_damaged
from fuzzing.messages import replay_file, take_messages
from fuzzing.words import read_words

Target: TypeAlias = Callable[[bytes], None]

TARGETS: Mapping[str, Target] = {
    "notifications": take_messages,
    "long-polling": hear_long_polling,
    "websocket": hear_websocket,
    "configuration": load_configuration,
    "journal": read_damaged,
    "answers": read_answers,
    "fixtures": replay_file,
    "words": read_words,
}
