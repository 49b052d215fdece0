"""Zone files on disk: what of them is told besides their records."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns.loading import Loader
from balancer.dns.names import from_text
from balancer.dns.serials import Written
from balancer.dns.tree import RRset
from balancer.dns.zone import apex
from tests.dns.zones import HEAD, ORIGIN

OWN = apex(ORIGIN, [from_text("ns1", ORIGIN)], from_text("admin", ORIGIN), 1, 30)


class WrittenTests(SynchronousTestCase):
    """The serial of a file, and the digest of all that makes records."""

    def setUp(self) -> None:
        """A directory, and who loads from it."""
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        self.loader = Loader("example.test", ORIGIN)

    def path(self, name: str) -> str:
        """Of a file there."""
        return os.path.join(self.directory, name)

    def written(self, text: str, own: tuple[RRset, ...] = OWN) -> Written:
        """Of a file with that text."""
        with open(self.path("z"), "w") as file:
            file.write(text)
        finish(self.loader.loading(self.path("z"), own))
        return self.loader.written

    def test_own(self) -> None:
        """A file's serial is its own, even if options would make the same SOA."""
        self.assertEqual(self.written(HEAD).own, 1)
        same = "$TTL 30\n@ SOA ns1 admin 1 7200 1800 1209600 30\n@ NS ns1\nns1 A 192.0.2.1\n"
        self.assertEqual(self.written(same).own, 1)

    def test_none(self) -> None:
        """A file without an SOA has none, nor has a zone without a file."""
        self.assertIsNone(self.written("ns1 A 192.0.2.1\n").own)
        finish(self.loader.loading(None, OWN))
        self.assertIsNone(self.loader.written.own)

    def test_digest(self) -> None:
        """Another text, another included file or other options make another digest; the same ones
        the same."""
        text = HEAD + f"$INCLUDE {self.path('more')}\n"
        digests = []
        for included in ("a A 192.0.2.1\n", "b A 192.0.2.1\n"):
            with open(self.path("more"), "w") as file:
                file.write(included)
            digests.append(self.written(text).digest)
        digests.append(self.written(text + "c A 192.0.2.1\n").digest)
        self.assertEqual(len(set(digests)), 3)
        self.assertEqual(self.written(text).digest, digests[1])
        other = apex(ORIGIN, [from_text("ns2", ORIGIN)], from_text("admin", ORIGIN), 1, 30)
        self.assertNotEqual(self.written(text, other).digest, digests[1])
