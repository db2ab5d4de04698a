"""The path in one process on a disk that takes 2 ms longer for each sync."""

import shutil

from cases.path import one_process_limit, one_process_ours
from measure import Comparison, Side

DELAY_MICROSECONDS = 2_000
SYNCS = "fsync,fdatasync"
STRACE = ("strace", "--seccomp-bpf", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={SYNCS}")
"""With `--seccomp-bpf` only the syncs stop for it; all other calls cost what they cost without it."""


def _missing() -> str | None:
    return None if shutil.which("strace") else "needs strace (Debian: `make debian-packages`)"


SLOW_DISK = Comparison(
    "slow-disk",
    "As `path`, where each `fsync` and `fdatasync` takes 2 ms longer, for both sides (injected by strace).",
    Side("fbsessiond", one_process_ours, "the whole pipeline; `synchronous=FULL`"),
    [Side("plain file", one_process_limit, "`orjson.loads`, one `fdatasync` a burst", at_least=0.45)],
    under=(*STRACE, "-e", f"inject={SYNCS}:delay_exit={DELAY_MICROSECONDS}"),
    missing=_missing,
)
