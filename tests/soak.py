"""
Runs the unit suite with many times the examples for its property tests: `-m tests.soak [TIMES]`.

The suite itself caps its examples so that it stays fast; here every cap is multiplied. What is
found is printed by hypothesis with the example that fails; pin it with @example in the test.
"""

from __future__ import annotations

import os
import sys

from hypothesis import settings
from twisted.scripts.trial import run

from tests.summary import unit_suite


def multiply(times: int) -> None:
    """Let every @settings(max_examples=N), wherever it stands, mean N x `times`."""
    asked = settings.max_examples
    # The metaclass refuses plain assignment: it guards against settings.max_examples = 5.
    type.__setattr__(settings, "max_examples", property(lambda self: times * asked.__get__(self)))


if __name__ == "__main__":
    os.environ["SOAKING"] = "yes"  # to tests whose examples are larger then
    multiply(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    sys.argv[1:] = ["--temp-directory=_trial_temp-soak", *unit_suite()]
    run()
