"""The commands, together."""

import typer

from fbsessiond.cli import (
    checking,
    coverage,
    dead,
    export,
    initialising,
    journal,
    new_handler,
    operate,
    quarantine,
    rehearse,
    replay,
    run,
    schema,
    sessions,
    simulate,
    verifying,
    why,
)

app = typer.Typer(
    name="fbsessiond",
    help="Watch Facebook private-messaging sessions on Genesys Web Services, and do what should follow.",
    epilog="Example: fbsessiond replay notifications/",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # their local variables would show customer data
    rich_markup_mode=None,
)

app.command(name="run", epilog=run.EPILOG)(run.run)
app.command(name="replay", epilog=replay.EPILOG)(replay.replay)
app.command(name="simulate", epilog=simulate.EPILOG)(simulate.simulate)
app.command(name="check", epilog=checking.EPILOG)(checking.check)
app.command(name="rehearse", epilog=rehearse.EPILOG)(rehearse.rehearse)
app.command(name="operate", epilog=operate.EPILOG)(operate.operate)
app.command(name="why", epilog=why.EPILOG)(why.why)
app.command(name="sessions", epilog=sessions.EPILOG)(sessions.sessions)
app.command(name="coverage", epilog=coverage.EPILOG)(coverage.coverage)
app.command(name="export", epilog=export.EPILOG)(export.export)
app.command(name="init", epilog=initialising.EPILOG)(initialising.init)
app.command(name="new-handler", epilog=new_handler.EPILOG)(new_handler.new_handler)
app.add_typer(schema.app, name="schema")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(dead.app, name="dead")
app.add_typer(journal.app, name="journal")
app.add_typer(verifying.app, name="audit")
