"""`make demo`: the daemon beside a simulated GWS, for half a minute, and then what it saw and did."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Timer
from urllib.request import Request, urlopen

SECONDS = 30
HERE = Path(__file__).parent
STATE = Path(".demo")
FBSESSIOND = [sys.executable, "-m", "fbsessiond"]
CONFIG = ["--config", str(HERE / "demo.toml")]
SIMULATE = [*FBSESSIOND, "simulate", "--port", "0", "--scenario", str(HERE / "scenario.toml")]
LOSS_SECONDS = 12
"""When GWS forgets the CometD session, and what waits in it: a gap, repaired within two seconds."""

LOOKS = (["journal", "stats"], ["coverage"], ["journal", "verify"], ["audit", "verify"])


def main() -> int:
    """Run both side by side, stop the daemon and then the platform, and look at what is left."""
    shutil.rmtree(STATE, ignore_errors=True)
    with subprocess.Popen(SIMULATE, stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        say(first := simulator.stdout.readline())
        environment = {**os.environ, "FBSESSIOND_GWS__URL": first.split()[-1], "DEMO_PASSWORD": "simulated"}  # noqa: TID251
        with subprocess.Popen([*FBSESSIOND, "run", *CONFIG], env=environment) as daemon:
            Timer(LOSS_SECONDS, lose_session, [first.split()[-1]]).start()
            Timer(SECONDS, lambda: (daemon.terminate(), daemon.wait(), simulator.terminate())).start()
            for line in simulator.stdout:
                say(line)
    say("\nThe journal, and the audit file:\n\n")
    statuses = [
        subprocess.run([*FBSESSIOND, *look, *CONFIG], env=environment, check=False).returncode for look in LOOKS
    ]
    lines = (STATE / "audit.jsonl").read_bytes().count(b"\n")
    say(f"The audit file has {lines} lines; both are in {STATE}/.\n")
    return max(statuses)


def lose_session(url: str) -> None:
    """Have the simulated GWS forget the daemon's CometD session."""
    fault = Request(f"{url}/simulator/faults", b'{"402": {"count": 1}}', method="POST")  # noqa: S310  our own server
    with urlopen(fault):  # noqa: S310  the same
        pass


def say(text: str) -> None:
    """Print at once, between the lines of the others."""
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
