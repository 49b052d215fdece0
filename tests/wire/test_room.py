"""How many connections fit into `ulimit -n`."""

from __future__ import annotations

import resource
import sys

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire import room


class RoomTests(SynchronousTestCase):
    """A process with some limits."""

    def limits(self, soft: int, hard: int) -> list[tuple[int, int]]:
        """Such a process; the limits that it sets."""
        found: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        self.patch(resource, "setrlimit", lambda which, limits: found.append(limits))
        return found

    def test_small(self) -> None:
        """With few descriptors, each client and each pair finds one for its server, and some are
        left for checks, logs and the operator."""
        self.limits(1024, 1024)
        self.assertEqual((room.clients(), room.pairs(), room.checks()), (461, 461, 102))
        self.assertEqual(room.flows(), 512)

    def test_large(self) -> None:
        """With many, clients may have all but some thousand."""
        self.limits(20000, 20000)
        self.assertEqual((room.clients(), room.pairs(), room.checks()), (15904, 9000, 2000))

    def test_least(self) -> None:
        """One fits always."""
        self.limits(1, 1)
        self.assertEqual((room.clients(), room.pairs(), room.checks()), (1, 1, 1))
        self.assertEqual(room.flows(), 1)

    def test_unlimited(self) -> None:
        """No limit is none."""
        self.limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertGreater(room.clients(), sys.maxsize // 2)

    def test_raise(self) -> None:
        """The soft limit becomes the hard one."""
        found = self.limits(1024, 65536)
        room.raise_limit()
        self.assertEqual(found, [(65536, 65536)])

    def test_raise_refused(self) -> None:
        """A kernel that does not allow that is no reason to stop."""
        self.limits(1024, 2**31)

        def refuse(which: int, limits: tuple[int, int]) -> None:
            raise ValueError("not allowed to raise maximum limit")

        self.patch(resource, "setrlimit", refuse)
        room.raise_limit()
