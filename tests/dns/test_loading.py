"""Zone files on disk: what of them is told besides their records."""

from __future__ import annotations

import contextlib
import gc
import os

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import Slices, finish
from balancer.dns.loading import BYTES_A_SLICE, Loader, forgetting
from balancer.dns.names import from_text
from balancer.dns.serials import Written
from balancer.dns.tree import RRset, Tree
from balancer.dns.zone import apex
from balancer.interfaces import PrepareError
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


class FileTests(SynchronousTestCase):
    """What may be wrong with a file before anything is read from it."""

    def setUp(self) -> None:
        """A directory, and who loads from it."""
        self.directory = self.mktemp()
        os.makedirs(self.directory)
        self.loader = Loader("example.test", ORIGIN)
        self.path = os.path.join(self.directory, "z")

    def loading(self, text: str) -> Slices[tuple[Tree, bool]]:
        """The work of loading a file with that text."""
        with open(self.path, "w") as file:
            file.write(text)
        return self.loader.loading(self.path, OWN)

    def refusal(self, work: Slices[tuple[Tree, bool]]) -> str:
        """Why it cannot be loaded."""
        return str(self.assertRaises(PrepareError, finish, work))

    def test_pipe(self) -> None:
        """A pipe is refused, as a zone's file and as one that is included: nobody waits for it."""
        pipe = os.path.join(self.directory, "pipe")
        os.mkfifo(pipe)
        self.assertIn("a pipe", self.refusal(self.loader.loading(pipe, OWN)))
        included = self.refusal(self.loading(HEAD + f"$INCLUDE {pipe}\n"))
        self.assertIn(f"z:{HEAD.count(chr(10)) + 1}: expected a file that can be read", included)
        self.assertIn("a pipe", included)

    def test_changed(self) -> None:
        """A file that changes while it is read is not believed, so that no half of it is served."""
        work = self.loading(HEAD)
        next(work)
        with open(self.path, "a") as file:
            file.write("b A 192.0.2.2\n")
        self.assertIn("changed while it was read", self.refusal(work))

    def test_included_in_slices(self) -> None:
        """An included file is read in slices as well."""
        more = os.path.join(self.directory, "more")
        with open(more, "wb") as file:
            file.truncate(4 * BYTES_A_SLICE)
        work = self.loading(HEAD + f"$INCLUDE {more}\n")
        slices = 0
        with contextlib.suppress(PrepareError):
            for _ in work:
                slices += 1
        self.assertGreater(slices, 4)

    def test_forgetting(self) -> None:
        """While a tree is freed, what is new is looked through little by little."""
        tree, _ = finish(self.loading(HEAD))
        fresh: list[list[int]] = []
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(10**6)  # as if nothing new were counted
        gc.collect()  # what other tests left is old
        for _ in forgetting(tree):
            fresh += [[] for _ in range(20)]
            self.assertLess(len(gc.get_objects(0) + gc.get_objects(1)), 5000)
        self.assertGreater(len(fresh), 5000)
        self.assertLess(gc.get_count()[2], 200)
