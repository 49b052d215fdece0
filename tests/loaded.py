"""
trial with its tests loaded first, as whole as they will be: `-m tests.loaded [--OPTION=X] NAME...`.

Modules and what they hold are half the objects there are while the suite runs, and never become
garbage: that the collector went through them again and again took a quarter of the time. They are
set apart from what it looks at, and it still finds all that the tests leave behind.

Property tests that do not say how many examples they want get few; tests.soak runs many.
"""

from __future__ import annotations

import gc
import sys

from hypothesis import settings

# Not twisted.trial.__main__: that of 22.4 looks distributions up by names that have changed since.
from twisted.scripts.trial import run
from twisted.trial.runner import TestLoader

EXAMPLES = 25


def load(names: list[str]) -> None:
    """Import what trial will find under `names`. What cannot be imported, trial reports."""
    gc.disable()
    TestLoader().loadByNames(names, recurse=True)
    gc.enable()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    settings.register_profile("unit", max_examples=EXAMPLES)
    settings.load_profile("unit")
    load([each for each in sys.argv[1:] if not each.startswith("-")])
    run()
