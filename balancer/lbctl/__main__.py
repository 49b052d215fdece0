"""`python -m balancer.lbctl`."""

from __future__ import annotations

import sys

from balancer.lbctl.command import main

if __name__ == "__main__":
    sys.exit(main())
