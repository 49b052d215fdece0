"""
Kinds of third parties: one file in a twisted/plugins directory of their own, and they balance.
"""

from __future__ import annotations

import os
import socket

from tests.live.harness import LOOPBACK, ROOT, LiveTestCase, free_port, wait_until

KIND = '''
"""A kind that says hello to whoever connects, and ends the connection."""

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import succeed
from zope.interface import implementer

from balancer.config.schema import Claim, Section, option
from balancer.config.values import free_text, listen_endpoint
from balancer.interfaces import IBalancer, IBalancerMaker, IPrepared


@frozen
class Settings:
    listen = option(listen_endpoint, required=True, help="Where.")
    word = option(free_text, default="hello", help="What is said.")


@implementer(IBalancer)
class Greeter(Service):
    def __init__(self, name, context):
        self.name, self.context = name, context

    def prepare(self, settings):
        return Prepared(self, settings)

    def startService(self):
        Service.startService(self)
        self.listener.accepted = self.greet
        self.listener.start()

    def greet(self, sock, peer):
        sock.send(self.word.encode())
        sock.close()

    def drain(self):
        self.listener.accepted = None
        return succeed(None)

    def status(self):
        return {"kind": "greeter", "name": self.name}

    def metrics(self):
        return ()


@implementer(IPrepared)
class Prepared:
    def __init__(self, greeter, settings):
        self.greeter, self.settings = greeter, settings

    def commit(self):
        greeter, where = self.greeter, self.settings.listen
        greeter.word = self.settings.word
        greeter.listener = greeter.context.listener(where.host, where.port)

    def abandon(self):
        pass


class Maker:
    section = Section(
        kind="greeter",
        settings=Settings,
        help="Says hello.",
        claims=lambda settings: [
            Claim("tcp", settings.listen.host, settings.listen.port, "listen")
        ],
    )

    def make(self, name, context):
        return Greeter(name, context)


maker = Maker()
'''

PLUGIN = """
from balancer.plugins import LazyBalancerMaker

greeter = LazyBalancerMaker("their_greeter.maker", kind="greeter")
broken = LazyBalancerMaker("their_broken.maker", kind="broken")
"""

SITE = """
[site]
admin = off
control = off
[greeter one]
listen = $host:$port
word = bonjour
"""


class ThirdPartyTests(LiveTestCase):
    """A directory of theirs on the path, as a package of theirs would be installed."""

    def setUp(self) -> None:
        """Write what they would ship."""
        super().setUp()
        theirs = self.directory / "theirs"
        (theirs / "twisted" / "plugins").mkdir(parents=True)
        (theirs / "twisted" / "plugins" / "their_kinds.py").write_text(PLUGIN)
        (theirs / "their_greeter.py").write_text(KIND)
        (theirs / "their_broken.py").write_text("import no_such_module_at_all\n")
        self.wrap = ("env", f"PYTHONPATH={os.pathsep.join((str(ROOT), str(theirs)))}")
        self.port = free_port()

    def test_works(self) -> None:
        """Their kind is found, takes its options from the site file, and serves."""
        process = self.balancer(SITE, self.port, wrap=self.wrap, host=LOOPBACK, port=self.port)
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as client:
            self.assertEqual(client.recv(100), b"bonjour")
        wait_until("the broken kind is told", lambda: "kind broken" in process.output)
        self.assertIn("no_such_module_at_all", process.output)
        self.assertEqual(process.stop(), 0)

    def test_broken_harms_itself(self) -> None:
        """A site that uses the kind that does not import is told the reason, with its line."""
        text = SITE + "[broken two]\nfoo = 1\n"
        site = self.site_file(text, host=LOOPBACK, port=self.port)
        process = self.twistd(site, wrap=self.wrap)
        self.assertEqual(process.wait(), 1)
        self.assertIn(":8: [broken two]: the kind 'broken' does not import", process.output)
        self.assertIn("no_such_module_at_all", process.output)
