"""One run of libFuzzer over one target, as a process of its own: `python -m fuzzing.libfuzzer TARGET OPTION… FOLDER…`.

The one module that needs atheris, which has no types and isn't there for everybody.
"""

import importlib
import sys
from typing import Any

NOT_WATCHED = ["fbsessiond.logs", "fbsessiond.testing"]
"""What looks at each letter, or only turns the tests' own event loop: to watch it takes longer than all the rest."""


def main(target: str, options: list[str]) -> None:
    """Run, with the program's own code and the library that it rests on watched; libFuzzer ends the process itself."""
    atheris: Any = importlib.import_module("atheris")
    atheris.enabled_hooks.add("str")  # not "RegEx": its patterns know fewer arguments than Python's
    with atheris.instrument_imports(include=["fbsessiond", "fbsessiond_handlers", "aiocometd"], exclude=NOT_WATCHED):
        targets = importlib.import_module("fuzzing.targets").TARGETS
    again = f"{sys.executable} -m fuzzing.libfuzzer {target}"  # how a shell starts this, to merge in a process apart
    atheris.Setup([again, *options], targets[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
