"""`fbsessiond operate`: one operation on one session, by hand."""

import asyncio
import json
from typing import Annotated, Any

import typer

from fbsessiond.agent import gws_of
from fbsessiond.carrying import Patience
from fbsessiond.chance import SeededChance
from fbsessiond.cli.options import AsJson, Config
from fbsessiond.cli.printing import print_json, print_line
from fbsessiond.clock import SystemClock
from fbsessiond.configuration import load
from fbsessiond.follow_up import FollowUpState, Progress
from fbsessiond.operating import operate_once
from fbsessiond.operations import OPERATIONS, Operation

EPILOG = """Examples:

fbsessiond operate 0002DaAVKJ0V0095 Leave

fbsessiond operate 0002DaAVKJ0V0095 SetDisposition --with disposition=resolved

fbsessiond operate 0002DaAVKJ0V0095 AttachUserData --with 'userData={"Case": 7}'

Exit status: 0 it took effect, 1 it didn't or nobody can tell, 2 usage, 69 GWS can't be reached, 77 GWS refuses the
credentials."""

WORDS = {
    FollowUpState.ACCEPTED: "passed on; not waited for",
    FollowUpState.CONFIRMED: "done: a notification shows it",
    FollowUpState.OBSERVED: "done: the session shows it",
    FollowUpState.UNCONFIRMED: "passed on; nothing tells what became of it",
    FollowUpState.PARKED: "in doubt: nothing tells whether it was done",
    FollowUpState.FAILED: "failed",
}


def operate(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")],
    operation: Annotated[str, typer.Argument(metavar="OPERATION", help=f"One of {', '.join(OPERATIONS)}.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--with", metavar="KEY=VALUE", help="A parameter; JSON where it isn't a text.", show_default=False
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="NAME", help="As which agent, where there are several.")
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Don't wait until it shows that it took effect.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Do one operation on a session.

    It waits until the session shows that the operation took effect.
    """
    try:
        asked = Operation(operation, session, dict(_parameter(text, operation) for text in parameters or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    settings = load(config).settings
    gws = gws_of(settings, agent)
    table = settings.follow_ups
    patience = Patience(table.confirmation, table.settling, attempts=1)
    progress = asyncio.run(
        operate_once(asked, gws, patience, wait=not no_wait, clock=SystemClock(), chance=SeededChance())
    )
    if as_json:
        print_json(_record(asked, progress))
    else:
        because = f" ({progress.because})" if progress.because else ""
        print_line(f"{operation} on {session}: {WORDS[progress.state]}{because}")
    if progress.state in {FollowUpState.PARKED, FollowUpState.FAILED}:
        raise typer.Exit(1)


def _parameter(text: str, operation: str) -> tuple[str, Any]:
    """Read KEY=VALUE: the value is JSON where that is what the operation wants of it, and else a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--with {text}: should be KEY=VALUE")
    kind = OPERATIONS.get(operation)
    wanted = next((each for each in kind.parameters if each.name == name), None) if kind else None
    if wanted is None or wanted.kind(value):
        return name, value
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _record(operation: Operation, progress: Progress) -> dict[str, Any]:
    return {
        "session": operation.session,
        "operation": operation.name,
        "state": progress.state.value,
        "because": progress.because,
        "attempts": progress.attempts,
    }
