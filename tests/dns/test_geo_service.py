"""The atlas: preparing, and swapping the database when its file changes."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import finish
from balancer.dns.geo import service
from balancer.dns.geo.prefixes import Territory
from balancer.dns.geo.service import LOOK_SECONDS, Atlas
from balancer.dns.geo.settings import PlaceSettings
from balancer.interfaces import PrepareError
from tests.dns.geo_samples import names, place
from tests.dns.mmdb import Writer

PLACES = {"a": place(None, "NL"), "b": place(None, "DE")}


def file(country: str) -> bytes:
    """A database in which all is in one country."""
    return Writer(4).insert("0.0.0.0/0", {"country_code": country}).built()


class AtlasTestCase(SynchronousTestCase):
    """An atlas and a file."""

    def setUp(self) -> None:
        """Write the file."""
        self.clock = Clock()
        self.atlas = Atlas(self.clock)
        self.path = Path(self.mktemp())
        self.write(file("NL"))
        self.told: list[str] = []
        self.atlas.subscribe(lambda: self.told.append(self.first()))

    def write(self, content: bytes) -> None:
        """Overwrite the file in place."""
        self.path.write_bytes(content)

    def replace(self, content: bytes) -> None:
        """Put another file in its place, as careful tools do."""
        other = self.path.with_suffix(".new")
        other.write_bytes(content)
        os.replace(other, self.path)

    def prepare(self, places: dict[str, PlaceSettings] = PLACES) -> Territory:
        """Prepare at once."""
        return finish(self.atlas.preparing(places, str(self.path)))

    def begin(self) -> None:
        """Put the file in force and look after it."""
        self.atlas.commit(self.prepare())
        self.told.clear()
        self.atlas.start()
        self.addCleanup(self.atlas.stop)

    def look(self, times: int = 2) -> None:
        """Let some looks pass, and the work that follows them."""
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)
            for _ in range(50):
                self.clock.advance(0)

    def first(self) -> str:
        """The place of all clients."""
        return "".join(names(self.atlas.territory, "192.0.2.1")[:1])


class PreparingTests(AtlasTestCase):
    """Prepare all, then commit."""

    def test_nothing(self) -> None:
        """A new atlas knows nobody's place, and one without places or database can be prepared."""
        self.assertEqual(names(self.atlas.territory, "192.0.2.1"), ())
        self.assertIsNone(self.atlas.status()["database"])
        self.atlas.commit(finish(self.atlas.preparing(PLACES, None)))
        self.assertEqual(names(self.atlas.territory, "192.0.2.1"), ())

    def test_commit(self) -> None:
        """What was prepared is in force when it is committed, and not before; then all are told."""
        prepared = self.prepare()
        self.assertEqual(names(self.atlas.territory, "192.0.2.1"), ())
        self.assertEqual(self.told, [])
        self.atlas.commit(prepared)
        self.assertIs(self.atlas.territory, prepared)
        self.assertEqual(self.told, ["a"])

    def test_shared(self) -> None:
        """Every zone may prepare and commit: what has not changed is made and told once."""
        prepared = self.prepare()
        self.assertIs(self.prepare(dict(PLACES)), prepared)
        self.atlas.commit(prepared)
        self.atlas.commit(self.prepare())
        self.assertIs(self.atlas.territory, prepared)
        self.assertEqual(self.told, ["a"])
        self.assertIsNot(self.prepare({"b": PLACES["b"], "a": PLACES["a"]}), prepared)
        self.assertIs(self.prepare(), prepared)
        self.replace(file("DE"))
        self.assertIsNot(self.prepare(), prepared)

    def test_refused(self) -> None:
        """What cannot be used is told with the path, what was expected, what came, what to do."""
        self.write(b"no database")
        with self.assertRaises(PrepareError) as caught:
            self.prepare()
        self.assertEqual(
            str(caught.exception),
            f"[site] geo: {self.path}: expected a MaxMind DB file with its metadata in the last "
            "128 KiB, got none; put a sound one in its place",
        )
        self.path.unlink()
        with self.assertRaisesRegex(PrepareError, "can be read, got No such file or directory"):
            self.prepare()

    def test_broken_successor(self) -> None:
        """While a broken file lies in the place of the one in force, a reload that is about other
        things goes on with the last one, which is said once; other places need a sound one."""
        self.begin()
        self.replace(b"no database")
        for _ in range(3):
            self.atlas.commit(self.prepare())
        self.look(3)
        self.assertEqual(self.first(), "a")
        self.assertEqual((self.atlas.status()["refused"], len(self.flushLoggedErrors())), (1, 0))
        self.assertIn("expected a MaxMind DB file", self.atlas.status()["refusal"])
        with self.assertRaises(PrepareError):
            self.prepare({"b": PLACES["b"]})
        self.replace(file("DE"))
        self.atlas.commit(self.prepare())
        self.assertIsNone(self.atlas.status()["refusal"])

    def test_too_many(self) -> None:
        """Too many places, or networks of places, are refused."""
        with self.assertRaisesRegex(PrepareError, "at most 254 places, got 300"):
            self.prepare({str(at): place() for at in range(300)})
        self.patch(service, "MAX_NETWORKS", 1)
        with self.assertRaisesRegex(PrepareError, "at most 1 networks of all places, got 2"):
            self.prepare({"a": place(None, "", "", "10.0.0.0/8 11.0.0.0/8")})

    def test_too_large(self) -> None:
        """A file that is too large is refused before all of it is read."""
        self.patch(service, "MAX_BYTES", 100)
        with self.assertRaisesRegex(PrepareError, "of at most 100 bytes"):
            self.prepare()

    def test_changed_while_read(self) -> None:
        """A file that is overwritten between two pieces is not taken for one."""
        preparing = self.atlas.preparing(PLACES, str(self.path))
        next(preparing)
        self.write(file("DE") + bytes(1))
        with self.assertRaisesRegex(PrepareError, "got one that changed"):
            finish(preparing)

    def test_status(self) -> None:
        """The database, its age and size, and the rankings are told."""
        self.atlas.commit(self.prepare())
        self.assertEqual(self.atlas.status(), {
            "database": str(self.path), "type": "Test", "built": "2023-11-14T22:13:20Z",
            "nodes": 1, "rankings": 2, "swaps": 0, "refused": 0, "refusal": None,
        })


class SwapTests(AtlasTestCase):
    """A file that changes."""

    def test_replaced(self) -> None:
        """Another file is in force soon after it was put there, and all are told once."""
        self.begin()
        self.replace(file("DE"))
        self.look()
        self.assertEqual((self.first(), self.told), ("b", ["b"]))
        self.look(5)
        self.assertEqual(self.told, ["b"])
        self.assertEqual(self.atlas.status()["swaps"], 1)

    def test_overwritten(self) -> None:
        """A file that is overwritten in place is swapped too, when it has rested for a look."""
        self.begin()
        self.write(file("DE")[:20])
        self.look(1)
        self.write(file("DE") + bytes(1))
        self.look(1)
        self.assertEqual(self.first(), "a")
        self.look(1)
        self.assertEqual((self.first(), self.atlas.status()["refused"]), ("b", 0))

    def test_truncated_in_force(self) -> None:
        """Cutting the file that is in force harms no query."""
        self.begin()
        os.truncate(self.path, 0)
        self.assertEqual(self.first(), "a")
        self.look()
        self.assertEqual(self.first(), "a")
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_broken(self) -> None:
        """A broken one is refused and counted once, the old one stays, and a sound one heals."""
        self.begin()
        before = self.atlas.territory
        self.replace(b"broken")
        with capturedLogs() as logged:
            self.look(6)
        self.assertEqual([event["log_level"] for event in logged], [LogLevel.error])
        self.assertIs(self.atlas.territory, before)
        status = self.atlas.status()
        self.assertEqual((status["refused"], status["database"]), (1, str(self.path)))
        self.assertIn("expected a MaxMind DB file", status["refusal"])
        self.replace(file("DE"))
        self.look()
        self.assertEqual(self.first(), "b")
        self.assertIsNone(self.atlas.status()["refusal"])

    def test_gone(self) -> None:
        """A file that vanishes is told once, and nothing changes until another one comes."""
        self.begin()
        self.path.unlink()
        self.look(4)
        self.assertEqual((self.first(), self.atlas.status()["refused"]), ("a", 1))
        self.write(file("DE"))
        self.look()
        self.assertEqual(self.first(), "b")

    def test_commit_overtakes(self) -> None:
        """A reload in the middle of a swap ends the swap."""
        self.begin()
        self.replace(file("DE"))
        self.clock.advance(LOOK_SECONDS)
        work: Deferred[Territory] = Deferred()
        self.patch(service, "in_slices", lambda reactor, slices: work)
        self.clock.advance(LOOK_SECONDS)
        self.replace(file("NL"))
        self.atlas.commit(self.prepare())
        self.assertTrue(work.called)
        self.look(3)
        self.assertEqual((self.first(), self.atlas.status()["swaps"]), ("a", 0))

    def test_users(self) -> None:
        """While any zone has started it, and only then, the file is looked after."""
        self.begin()
        self.atlas.start()
        self.atlas.stop()
        self.replace(file("DE"))
        self.look()
        self.assertEqual(self.first(), "b")
        self.atlas.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.atlas.start()

    def test_unsubscribed(self) -> None:
        """Who has had enough is told no more."""
        calls: list[str] = []

        def changed() -> None:
            calls.append("changed")

        self.atlas.subscribe(changed)
        self.begin()
        self.atlas.unsubscribe(changed)
        self.replace(file("DE"))
        self.look()
        self.assertEqual(calls, ["changed"])
