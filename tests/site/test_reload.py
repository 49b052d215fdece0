"""A second plan put in force: what stays, what comes, what goes, and what a failure leaves."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.interfaces import PrepareError, Published
from balancer.site.diff import changes, refused
from balancer.site.plan import Makers, Plan
from balancer.site.reading import read
from balancer.site.service import SiteService
from balancer.wire.bind import CannotBind
from tests.site.test_service import TEXT, GateMaker, NeverMaker
from tests.wire.reactors import StillReactor


class ReloadTestCase(SynchronousTestCase):
    """A site of two balancers."""

    def setUp(self) -> None:
        self.reactor: Any = StillReactor()
        self.maker = GateMaker()
        self.makers = Makers({"gate": self.maker}, {"tcp": NeverMaker()})
        self.site = SiteService(self.reactor, self.plan(TEXT), self.makers)

    def plan(self, text: str) -> Plan:
        """The plan of `text`."""
        return read(text, "s.ini", self.makers)

    def follow(self, text: str) -> None:
        """Put `text` in force."""
        self.site.follow(self.plan(text))

    def start(self) -> None:
        """Start the site, and stop it after the test."""
        self.site.startService()
        self.addCleanup(self.site.stopService)


class FollowTests(ReloadTestCase):
    """The site follows a new plan."""

    def test_pools_stay(self) -> None:
        """A pool that is in both plans is the same object, and its servers keep what is known."""
        pool = self.site.context.pool("free")
        server = pool.server("a")
        server.requests_total = 7
        self.follow(TEXT.replace("127.0.0.1:2", "127.0.0.1:2 weight=3"))
        self.assertIs(self.site.context.pool("free"), pool)
        self.assertIs(pool.server("a"), server)
        self.assertEqual((server.weight, server.requests_total), (3, 7))

    def test_many_servers(self) -> None:
        """What happens to a pool's servers is told little by little, and all of it."""
        told: list[Published] = []
        self.site.context.subscribe(told.append)
        more = "".join(f"\n    n{at} 127.0.0.1:{at}" for at in range(100, 400))
        change = self.site.following(self.plan(TEXT.replace("127.0.0.1:2", "127.0.0.1:2" + more)))
        most, before = 0, 0
        for _ in change:
            most, before = max(most, len(told) - before), len(told)
        self.assertLessEqual(most, 20)
        self.assertGreaterEqual(len(told), 300)

    def test_balancers_stay(self) -> None:
        """A balancer that is in both plans is prepared again, and not started again."""
        self.start()
        self.maker.done.clear()
        self.follow(TEXT)
        self.assertEqual(
            self.maker.done, ["prepare one", "prepare two", "commit one", "commit two"]
        )

    def test_new_balancer(self) -> None:
        """A new balancer starts when it is committed."""
        self.start()
        self.follow(TEXT + "[gate three]\npool = free\n")
        self.assertEqual(self.maker.done[-1], "start three")
        self.assertIn("gate:three", self.site.snapshot().status["balancers"])

    def test_removed_balancer(self) -> None:
        """A balancer that goes is drained first and stopped when that is done."""
        self.start()
        self.follow(TEXT.partition("[gate two]")[0])
        self.assertIn("drain two", self.maker.done)
        self.assertNotIn("stop two", self.maker.done)
        self.maker.made["two"].drained.callback(None)
        self.assertEqual(self.maker.done[-1], "stop two")
        self.assertNotIn("gate:two", self.site.snapshot().status["balancers"])

    def test_back_while_it_drains(self) -> None:
        """A balancer that comes back while the one of its name still drains is another one, and
        both end when the site does."""
        self.start()
        self.follow(TEXT.partition("[gate two]")[0])
        old = self.maker.made["two"]
        self.follow(TEXT)
        self.assertIsNot(self.maker.made["two"], old)
        self.assertEqual(self.maker.done[-1], "start two")
        self.assertEqual(self.site.snapshot().status["balancers"]["gate:two"]["name"], "two")
        old.drained.callback(None)
        self.assertEqual(self.maker.done[-1], "stop two")

    def test_stop_waits_for_the_removed(self) -> None:
        """A site that drains waits for balancers that were removed before, too."""
        self.start()
        self.follow(TEXT.partition("[gate two]")[0])
        drained = self.site.drain()
        self.maker.made["one"].drained.callback(None)
        self.assertNoResult(drained)
        self.maker.made["two"].drained.callback(None)
        self.successResultOf(drained)

    def test_removed_balancer_that_does_not_end(self) -> None:
        """One that does not end by itself is stopped after drain-timeout."""
        self.start()
        self.follow(TEXT.partition("[gate two]")[0])
        self.reactor.advance(10.1)
        self.assertEqual(self.maker.done[-1], "stop two")

    def test_failed_prepare(self) -> None:
        """A plan that cannot be prepared changes nothing at all."""
        before = self.site.snapshot().status["pools"]
        text = TEXT.replace("127.0.0.1:2", "127.0.0.1:9") + "fault = broken\n"
        self.assertRaises(PrepareError, self.follow, text)
        self.assertEqual(self.site.snapshot().status["pools"], before)
        self.assertEqual(self.maker.done[-1], "abandon one")
        self.assertEqual(self.site.plan.balancers[1].settings.fault, None)

    def test_new_pool(self) -> None:
        """A new pool is there for a balancer that is prepared with it."""
        self.follow(TEXT + "[pool new]\nservers = a 127.0.0.1:3\n[gate three]\npool = new\n")
        self.assertEqual(self.site.context.pool("new").name, "new")

    def test_removed_pool(self) -> None:
        """A pool that goes is neither shown nor checked any more."""
        self.start()
        text = TEXT.replace("[pool app]\nservers = a 127.0.0.1:1\n", "")
        self.follow(text.replace("pool = app", "pool = free"))
        self.assertEqual(list(self.site.snapshot().status["pools"]), ["free"])
        self.assertEqual(list(self.site.live.checks), [])

    def test_check_off_and_on(self) -> None:
        """A pool whose check is switched off is trusted; switched on again, it is checked."""
        self.start()
        self.reactor.advance(1)
        self.reactor.advance(1)
        self.assertFalse(self.site.healthy())
        self.follow(TEXT.replace("127.0.0.1:1\n", "127.0.0.1:1\ncheck = none\n"))
        self.assertTrue(self.site.healthy())
        self.follow(TEXT)
        for _ in range(10):
            self.reactor.advance(1)
        self.assertFalse(self.site.healthy())


class ControlTests(ReloadTestCase):
    """The control socket follows the site file."""

    def with_control(self, path: object) -> str:
        """The site with a control socket at `path`."""
        return TEXT.replace("control = off", f"control = {path}")

    def place(self) -> Path:
        """Somewhere for a socket: a short path, the kernel takes 107 bytes."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        return Path(directory) / "lb.sock"

    def test_comes_and_goes(self) -> None:
        """A reload opens it with mode 0660, and another one closes it and removes its file."""
        self.start()
        path = self.place()
        self.follow(self.with_control(path))
        self.assertEqual(path.stat().st_mode & 0o777, 0o660)
        self.follow(TEXT)
        self.assertFalse(path.exists())

    def test_moves(self) -> None:
        """A changed path moves it."""
        self.start()
        first, second = self.place(), self.place()
        self.follow(self.with_control(first))
        self.follow(self.with_control(second))
        self.assertEqual((first.exists(), second.exists()), (False, True))
        self.site.stopService()
        self.assertFalse(second.exists())

    def test_failed_reload(self) -> None:
        """A reload that fails leaves no socket behind."""
        path = self.place()
        text = self.with_control(path) + "fault = broken\n"
        self.assertRaises(PrepareError, self.follow, text)
        self.assertFalse(path.exists())

    def test_taken(self) -> None:
        """A path that somebody named and that is in use fails the reload."""
        path = self.place()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            self.assertRaises(CannotBind, self.follow, self.with_control(path))


class ChangesTests(ReloadTestCase):
    """What a reload would do, in words."""

    def told(self, text: str) -> list[str]:
        """The changes from TEXT to `text`."""
        return [change.text() for change in changes(self.site.plan, self.plan(text))]

    def test_none(self) -> None:
        """The same file changes nothing, whatever its comments and order of options."""
        self.assertEqual(self.told("# again\n" + TEXT), [])

    def test_server_weight(self) -> None:
        """A server's new weight is a change of that server alone."""
        self.assertEqual(
            self.told(TEXT.replace("127.0.0.1:2", "127.0.0.1:2 weight=3")),
            ["~ server free/a: weight 1 -> 3"],
        )

    def test_server_moves(self) -> None:
        """A server with a new address is another server."""
        self.assertEqual(
            self.told(TEXT.replace("127.0.0.1:2", "127.0.0.1:3")),
            ["- server free/a 127.0.0.1:2", "+ server free/a 127.0.0.1:3"],
        )

    def test_sections(self) -> None:
        """Sections that come and go, and options that change, are told by name."""
        text = TEXT.partition("[gate two]")[0].replace("10s", "20s")
        text += "[pool new]\nservers = a 127.0.0.1:3\n[gate three]\npool = new\n"
        self.assertEqual(
            self.told(text),
            [
                "~ site: drain-timeout 10s -> 20s",
                "+ pool new",
                "- gate two",
                "+ gate three",
            ],
        )

    def test_listeners(self) -> None:
        """A listener that comes is told."""
        self.assertEqual(
            self.told(TEXT.replace("admin = off", "admin = 127.0.0.1:9180")),
            ["~ site: admin off -> 127.0.0.1:9180", "+ listener tcp 127.0.0.1:9180"],
        )

    def test_nothing_is_refused_yet(self) -> None:
        """What can change only at a restart cannot be set in this version."""
        self.assertEqual(refused(self.site.plan, self.plan(TEXT)), ())
