"""Runs Vault's bootstrap as its pod does, from the rendered ConfigMap's package, and dies without a word before step N.

Arguments: the step to die before (-1: none). The environment is the job's.
"""

import os
import signal
import sys

from jobs.vault_bootstrap import Settings, bootstrap  # type: ignore[import-not-found]

_count = -1


def report(step: str) -> None:
    """Say the step, or die before it."""
    global _count
    _count += 1
    if _count == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    print(step, flush=True)


bootstrap(Settings.from_environment(os.environ), report)
