"""The resolver: files that change, names that are in them, and names that are asked for."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.resolve.before import look_up_now
from balancer.resolve.client import Client, source_of
from balancer.resolve.files import Files
from balancer.resolve.interfaces import IResolver
from balancer.resolve.looking import Found, Nothing
from balancer.resolve.message import AAAA, A
from tests.resolve.messages import answer


class ClientTests(SynchronousTestCase):
    """A hosts file, a resolv.conf, and servers that the test plays."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.hosts, self.conf = directory / "hosts", directory / "resolv.conf"
        self.hosts.write_text("192.0.2.1 app.test\n")
        self.conf.write_text("nameserver 192.0.2.53\n")
        self.files = Files(str(self.hosts), str(self.conf))
        reactor: Any = Clock()
        self.client = Client(reactor, self.files, Random(1))
        self.asked: list[Any] = []
        exchange: Any = self
        self.client._exchange = exchange

    def ask(self, ask: Any) -> Deferred[Any]:
        """Remember who is asked."""
        asked: Deferred[Any] = Deferred()
        self.asked.append((ask, asked))
        return asked

    def test_interface(self) -> None:
        """The client is a resolver."""
        verifyObject(IResolver, self.client)

    def test_changes(self) -> None:
        """Files are read again when they change, and only then is there something new."""
        self.assertTrue(self.client.changed())
        self.assertFalse(self.client.changed())
        self.hosts.write_text("192.0.2.2 app.test\n192.0.2.3 web.test\n")
        self.assertTrue(self.client.changed())
        found = self.successResultOf(self.client.look_up("app.test"))
        self.assertEqual(getattr(found, "addresses", None), ("192.0.2.2",))
        self.conf.write_text("nameserver 192.0.2.54\noptions timeout:1\n")
        self.assertTrue(self.client.changed())
        self.assertEqual(self.files.conf.servers, (("192.0.2.54", 53),))

    def test_use(self) -> None:
        """Servers of the site file take the place of resolv.conf's, whose options still count."""
        self.client.changed()
        self.client.use([("192.0.2.99", 5353)])
        self.assertTrue(self.client.changed())
        self.assertEqual(self.files.conf.servers, (("192.0.2.99", 5353),))
        self.conf.write_text("nameserver 192.0.2.54\noptions timeout:1\n")
        self.client.changed()
        self.assertEqual(self.files.conf.servers, (("192.0.2.99", 5353),))
        self.assertEqual(self.files.conf.timeout, 1.0)
        self.client.use(())
        self.assertTrue(self.client.changed())
        self.assertEqual(self.files.conf.servers, (("192.0.2.54", 53),))

    def test_no_files(self) -> None:
        """Files that are not there, or are no files, are empty."""
        os.unlink(self.hosts)
        os.unlink(self.conf)
        os.mkfifo(self.conf)
        self.client.changed()
        self.assertEqual((self.files.hosts, self.files.conf.servers), ({}, (("127.0.0.1", 53),)))

    def test_hosts_first(self) -> None:
        """A name of the hosts file is not asked for."""
        self.client.changed()
        found = self.successResultOf(self.client.look_up("app.test"))
        self.assertEqual((getattr(found, "addresses", None), self.asked), (("192.0.2.1",), []))

    def test_asked(self) -> None:
        """Any other name is, of one server after the other until there is an answer."""
        self.client.changed()
        look = self.client.look_up("web.test")
        self.asked[0][1].callback(["no answer", "no answer"])
        self.assertNoResult(look)
        name = "web.test"
        self.asked[1][1].callback([answer(name, AAAA), answer(name, A, (name, 9, "192.0.2.7"))])
        self.assertEqual(self.successResultOf(look), Found(("192.0.2.7",), 9.0))

    def test_fault(self) -> None:
        """What goes wrong in asking ends the look-up."""
        self.client.changed()
        look = self.client.look_up("web.test")
        self.asked[0][1].errback(ZeroDivisionError())
        self.failureResultOf(look, ZeroDivisionError)

    def test_cancel(self) -> None:
        """A look-up that is cancelled cancels what it asked."""
        self.client.changed()
        look = self.client.look_up("web.test")
        look.cancel()
        self.failureResultOf(look)
        self.assertTrue(self.asked[0][1].called)

    def test_source(self) -> None:
        """The kernel says from where an address is reached, and whether it is."""
        self.assertEqual(source_of("127.0.0.1"), "127.0.0.1")
        self.assertIsNone(source_of("no address"))


class Resolver:
    """Knows some names, and hangs on the others."""

    def __init__(self) -> None:
        self.looked = 0
        self.hanging: list[Deferred[Found | Nothing]] = []

    def changed(self) -> bool:
        """The files are looked at before the first name is."""
        self.looked += 1
        return True

    def look_up(self, name: str) -> Deferred[Found | Nothing]:
        """At once, or never."""
        if name == "hangs":
            self.hanging.append(Deferred())
            return self.hanging[-1]
        return succeed(Found((name,), 1.0) if name != "gone" else Nothing("gone"))


class BeforeTests(SynchronousTestCase):
    """Before the reactor runs."""

    def look_up(self, *names: str) -> Any:
        """With very little patience."""
        self.resolver: Any = Resolver()
        return look_up_now(names, lambda reactor: self.resolver, 0.01)

    def test_found(self) -> None:
        """All are looked up, more than may be at once as well."""
        names = [str(number) for number in range(100)]
        self.assertEqual(self.look_up(*names), {name: Found((name,), 1.0) for name in names})
        self.assertEqual(self.look_up("gone"), {"gone": Nothing("gone")})
        self.assertEqual(self.resolver.looked, 1)

    def test_hangs(self) -> None:
        """One that hangs holds up no other, and is dropped after the time."""
        self.assertEqual(self.look_up("hangs", "a"), {"hangs": None, "a": Found(("a",), 1.0)})
        self.assertTrue(self.resolver.hanging[0].called)

    def test_gives_back(self) -> None:
        """No descriptor stays."""
        gc.collect()  # what other tests left would close between the two looks
        before = len(os.listdir("/proc/self/fd"))
        self.look_up("a")
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
