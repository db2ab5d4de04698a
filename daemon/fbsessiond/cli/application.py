"""The commands, together. Each is imported when it is asked for: no other one waits for what it needs."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_group

from fbsessiond.cli.log import set_up_log

VERBS: Mapping[str, tuple[str, str]] = {
    "run": ("run", "Run the daemon."),
    "replay": ("replay", "Replay notifications through the handlers, offline."),
    "simulate": ("simulate", "Run a GWS on this machine, to try fbsessiond against."),
    "check": ("checking", "Check the configuration and its environment."),
    "rehearse": ("rehearse", "Show what another configuration would have done."),
    "operate": ("operate", "Do one operation on a session."),
    "why": ("why", "Tell what became of a session, and why."),
    "sessions": ("sessions", "List the sessions that could still change."),
    "tap": ("tap", "Watch what happens, a line each, within a second."),
    "coverage": ("coverage", "Show the share of time that is covered, and every gap."),
    "export": ("export", "Print the journal's entries, without customer data."),
    "init": ("initialising", "Write a configuration, with a comment for each setting."),
    "new-handler": ("new_handler", "Write a handler with its test."),
    "schema": ("schema", "Schemas of the configuration and the notifications."),
    "quarantine": ("quarantine", "Messages that don't validate, kept word for word."),
    "dead": ("dead", "Dead letters: deliveries that failed or were rejected."),
    "journal": ("journal", "The journal as a whole."),
    "audit": ("verifying", "The audit file."),
}
"""The module of each, and the first line of its own help."""

LOOKING = frozenset({"why", "sessions", "tap", "coverage", "export", "quarantine", "dead", "journal"})
"""What looks at a journal. It runs nothing that could log, and answers at once."""


class Verb(TyperCommand):
    """A command of which only its name and its line of help are known, until somebody asks for more."""

    def make_context(self, *given: Any, **named: Any) -> Any:
        """Parse what follows the command's name, as the command itself does."""
        if self.name not in LOOKING:
            set_up_log()
        return loaded(str(self.name)).make_context(*given, **named)


def loaded(name: str) -> Any:
    """Return a command, or a group of them, imported."""
    module = import_module(f"fbsessiond.cli.{VERBS[name][0]}")
    above = _new_app()
    if hasattr(module, "app"):
        above.add_typer(module.app, name=name)
    else:
        above.command(name=name, epilog=module.EPILOG)(getattr(module, name.replace("-", "_")))
    return get_group(above).commands[name]


def _new_app() -> typer.Typer:
    return typer.Typer(
        name="fbsessiond",
        help="Watch Facebook private-messaging sessions on Genesys Web Services, and do what should follow.",
        epilog="Example: fbsessiond replay notifications/",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,  # their local variables would show customer data
        rich_markup_mode=None,
    )


app = _new_app()
for _name, (_, _help) in VERBS.items():
    app.command(name=_name, cls=Verb, help=_help)(lambda: None)
