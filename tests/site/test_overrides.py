"""The operator's file of servers to drain or take out: read, and put in force."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, strategies
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.pool.events import Event
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.pool.settings import PoolSettings, ServerSettings
from balancer.site import overriding as overriding_module
from balancer.site.overrides import MAX_FILE, MAX_GLOBS, MAX_PROBLEMS, Overrides, matches, read
from balancer.site.overriding import LOOK, SETTLED, Overriding
from balancer.site.registry import Registry
from balancer.wire.address import literal


def words(text: str, *keys: str) -> list[str]:
    """What the file `text` says of servers."""
    rules = read(text.encode(), "o")
    found = []
    for key in keys:
        pool, _, name = key.partition("/")
        rule = rules.rule(key, name, rules.of_pool(pool))
        found.append("" if rule is None else rule.word)
    return found


class ReadTests(SynchronousTestCase):
    """The file's lines."""

    def test_lines(self) -> None:
        """A line has a server and a word; comments and blanks are nothing."""
        text = "# all of them\n\n web/a\tdrain # soon\r\nweb/b maint\nmail/a ready"
        self.assertEqual(
            words(text, "web/a", "web/b", "mail/a", "mail/b"), ["drain", "maint", "ready", ""]
        )
        self.assertEqual(read(text.encode(), "o").problems, ())

    def test_globs(self) -> None:
        """A star stands for any characters within the pool's name or the server's."""
        text = "web/* drain\n*/in-* maint"
        self.assertEqual(
            words(text, "web/a", "webs/a", "mail/in-1", "mail/out", "web/in-1"),
            ["drain", "", "maint", "", "maint"],
        )

    def test_last_one_counts(self) -> None:
        """Of lines that match a server the last one counts, with a star or without."""
        self.assertEqual(words("web/* drain\nweb/a ready", "web/a", "web/b"), ["ready", "drain"])
        self.assertEqual(words("web/a ready\nweb/* drain", "web/a"), ["drain"])
        self.assertEqual(words("web/a ready\nweb/a maint", "web/a"), ["maint"])
        self.assertEqual(words("web/* ready\n*/a maint\nweb/b drain", "web/a", "web/b"),
                         ["maint", "drain"])

    def test_faults(self) -> None:
        """A fault is told with its line, and what was meant; the other lines are read."""
        rules = read(b"web/a drian\nweb drain\nweb/b drain now\nweb/c weight\nweb/d drain", "o")
        self.assertEqual(rules.problems, (
            "o:1: expected one of drain, maint, ready, got 'drian'; did you mean 'drain'?",
            "o:2: expected POOL/SERVER and one of drain, maint, ready, got 'web drain'",
            "o:3: expected POOL/SERVER and one of drain, maint, ready, got 'web/b drain now'",
            "o:4: expected one of drain, maint, ready, got 'weight'",
        ))
        self.assertEqual(list(rules.single), ["web/d"])

    def test_bounds(self) -> None:
        """Stars and problems are counted, and no glob takes long."""
        rules = read(b"a*/b drain\n" * (MAX_GLOBS + 1), "o")
        self.assertEqual((len(rules.globs), len(rules.problems)), (MAX_GLOBS, 1))
        self.assertEqual(len(read(b"x\n" * 999, "o").problems), MAX_PROBLEMS)
        text = "web/" + "*a" * 100 + "*b drain"
        self.assertEqual(words(text, "web/" + "a" * 250, "web/" + "a" * 200 + "b"), ["", "drain"])

    @given(strategies.text("ab*", max_size=8), strategies.text("ab", max_size=8))
    def test_as_a_pattern(self, glob: str, name: str) -> None:
        """A glob matches what the same pattern does."""
        self.assertEqual(matches(glob, name), fnmatchcase(name, glob))

    @given(strategies.binary(max_size=60))
    def test_noise(self, data: bytes) -> None:
        """Any bytes are rules or faults."""
        self.assertIsInstance(read(data, "o"), Overrides)


class OverridingTests(SynchronousTestCase):
    """A file, two pools, and a clock."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()
        self.file = self.state / "overrides"
        self.clock = Clock()
        self.events: list[str] = []
        self.registry = Registry({name: self.pool(name) for name in ("web", "mail")}, {})

    def pool(self, name: str) -> Pool:
        """A pool of a, b, and c, which is disabled; all are up."""
        servers = [
            (ServerSettings(each, disabled=each == "c"), literal(f"192.0.2.{number}", 80))
            for number, each in enumerate("abc", 1)
        ]
        pool = Pool(PoolSettings(name), servers, 0.0, random.Random(1))
        pool.trust_all(0.0)
        return pool

    def begin(self, text: str | None = None) -> Overriding:
        """Start with that file."""
        if text is not None:
            self.write(text)
        reactor: Any = self.clock
        self.overriding = Overriding(reactor, self.registry, str(self.state), self.publish)
        self.overriding.start()
        self.addCleanup(self.overriding.stop)
        return self.overriding

    def publish(self, pool: Pool, events: Sequence[Event]) -> None:
        """Remember what happened."""
        self.events += [each.text() for each in events]

    def write(self, text: str) -> None:
        """As an editor does: another file takes its place."""
        new = self.state / "new"
        new.write_text(text)
        os.rename(new, self.file)

    def becomes(self, text: str) -> None:
        """The file says this now, and it was seen."""
        self.write(text)
        self.wait()

    def wait(self) -> None:
        """Until a change has been seen."""
        self.clock.advance(LOOK)
        self.clock.advance(SETTLED)

    def server(self, key: str) -> Server:
        """A server."""
        pool, _, name = key.partition("/")
        return self.registry.pools[pool].server(name)

    def states(self, *keys: str) -> list[str]:
        """What the operator wants of servers."""
        return [self.server(key).admin for key in keys]

    def test_start(self) -> None:
        """What the file says is so from the start on, with events and a reason."""
        self.begin("web/a drain\nmail/* maint\n")
        self.assertEqual(self.states("web/a", "web/b", "mail/a", "mail/b"),
                         ["drain", "ready", "maint", "maint"])
        self.assertEqual(self.events, ["web/a started draining", "mail/a entered maintenance",
                                       "mail/b entered maintenance"])
        self.assertEqual(self.server("web/a").reason, "overrides, line 1")

    def test_comes_and_goes(self) -> None:
        """A line takes a server within a second or so, another word changes it, and without it the
        server is given back; so it is when the file goes."""
        self.begin()
        self.becomes("web/a drain")
        self.assertEqual(self.states("web/a"), ["drain"])
        self.becomes("web/a maint")
        self.assertEqual(self.states("web/a"), ["maint"])
        self.becomes("# nobody\nweb/b drain")
        self.assertEqual(self.states("web/a", "web/b"), ["ready", "drain"])
        self.file.unlink()
        self.wait()
        self.assertEqual(self.states("web/a", "web/b"), ["ready", "ready"])
        self.assertEqual(len(self.events), 5)

    def test_same_again(self) -> None:
        """A file that is written again with the same lines, or others before them, is no news."""
        self.begin("web/a drain")
        self.becomes("# a comment\nweb/a drain")
        self.assertEqual(self.events, ["web/a started draining"])

    def test_somebody_elses(self) -> None:
        """A server that was taken by somebody else, or given back meanwhile, is left as it is."""
        web = self.registry.pools["web"]
        web.drain(web.server("a"))
        self.begin("web/a drain\nweb/b drain")
        web.ready(web.server("b"))
        web.maintain(web.server("b"))
        self.becomes("")
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "maint"])

    def test_operator(self) -> None:
        """What lbctl says after a line was applied counts until that line changes."""
        self.begin("web/a drain")
        web = self.registry.pools["web"]
        web.ready(web.server("a"))
        self.becomes("web/a drain\nweb/b drain")
        self.assertEqual(self.states("web/a", "web/b"), ["ready", "drain"])
        self.becomes("web/a maint")
        self.assertEqual(self.states("web/a"), ["maint"])

    def test_disabled(self) -> None:
        """A server that the site file disables may be made ready, and goes back to maintenance."""
        self.begin("web/c drain")
        self.becomes("")
        self.assertEqual(self.states("web/c"), ["maint"])
        self.becomes("web/c ready")
        self.assertEqual(self.states("web/c"), ["ready"])

    def test_faults(self) -> None:
        """A file with a fault changes nothing; at the start its sound lines count."""
        overriding = self.begin("web/a drain\nweb/b drian")
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "ready"])
        self.assertEqual(len(overriding.problems), 1)
        self.becomes("web/b drain\nweb/a")
        self.overriding.renew()
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "ready"])
        self.assertIn("overrides:2: expected POOL/SERVER", overriding.problems[0])
        self.becomes("web/b drain")
        self.assertEqual((self.states("web/a", "web/b"), overriding.problems),
                         (["ready", "drain"], ()))

    def test_unknown(self) -> None:
        """A server that is not there is told, and does no harm."""
        overriding = self.begin("web/a drain\nweb/z drain\nnone/* drain")
        self.assertEqual(self.states("web/a"), ["drain"])
        self.assertEqual(
            overriding.problems, (f"{self.file}:2: no server web/z in the site file",)
        )

    def test_too_long(self) -> None:
        """A file that is too long, or no file, is told and changes nothing."""
        overriding = self.begin("web/a drain")
        self.becomes("#" * (MAX_FILE + 1))
        self.assertEqual((self.states("web/a"), len(overriding.problems)), (["drain"], 1))
        self.file.unlink()
        self.file.mkdir()
        self.wait()
        self.assertEqual((self.states("web/a"), len(overriding.problems)), (["drain"], 1))

    def test_half_written(self) -> None:
        """A file that is being written is read when it rests."""
        self.begin("web/a drain")
        self.file.write_text("")
        self.clock.advance(LOOK)
        self.file.write_text("web/a drain\nweb/b drain")
        self.clock.advance(SETTLED)
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "ready"])
        self.clock.advance(SETTLED)
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "drain"])
        self.assertNotIn("web/a became ready and is up", self.events)

    def test_reload(self) -> None:
        """A server that a reload brings is as the file says; one that it removes is forgotten."""
        self.begin("web/* drain")
        self.registry.know({"web": self.pool("web")}, {})
        self.overriding.renew()
        self.assertEqual(self.states("web/a", "web/b"), ["drain", "drain"])
        self.assertEqual(len(self.overriding._held), 3)

    def test_many(self) -> None:
        """Thousands of servers are changed a few at a time."""
        servers = [
            (ServerSettings(f"s{number}"), literal("192.0.2.1", number + 1))
            for number in range(1000)
        ]
        self.registry.know(
            {"web": Pool(PoolSettings("web"), servers, 0.0, random.Random(1))}, {}
        )
        self.write("web/* drain")
        reactor: Any = self.clock
        overriding = Overriding(reactor, self.registry, str(self.state), self.publish)
        overriding._read(first=True)
        steps = overriding._applied()
        counts = []
        for _ in steps:
            counts.append(len(self.events))
        self.assertEqual(len(self.events), 1000)
        self.assertLessEqual(
            max(later - before for before, later in pairwise(counts)), 20
        )

    def test_stopped(self) -> None:
        """Nothing goes on after the end, not even what had begun."""
        self.write("web/* drain")
        reactor: Any = self.clock
        overriding = Overriding(reactor, self.registry, str(self.state), self.publish)
        self.patch(overriding_module, "in_slices", lambda reactor, slices: Deferred())
        overriding.start()
        self.clock.advance(LOOK)
        overriding.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        overriding.renew()
        self.assertEqual((self.clock.getDelayedCalls(), self.events), ([], []))
