"""
Tests of where TLS ends: what is read when, and what a change leaves alone.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.wire.address import literal
from balancer.wire.certificates import CannotLoad
from balancer.wire.keyring import TICKET_SECONDS
from balancer.wire.listener import Listener
from balancer.wire.slices import at_once
from balancer.wire.stamps import stamps
from balancer.wire.terminations import Terminations
from tests.wire.reactors import Recorder, StillReactor, unix_pair
from tests.wire.tls import AUTHORITY, Client


class Case(SynchronousTestCase):
    """Two listeners, and a directory with one certificate."""

    def setUp(self) -> None:
        self.reactor = StillReactor()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.a = AUTHORITY.issue("a.test").save(self.directory / "a.pem")
        self.failed: list[tuple[Any, str]] = []
        self.tls = Terminations(lambda protocol, reason: self.failed.append((protocol, reason)))
        self.addCleanup(self.tls.stop)
        self.one, self.two = self.listener(), self.listener()

    def listener(self) -> Listener:
        """One that nobody connects to."""
        listener = Listener(self.reactor, socket.socket(), literal("127.0.0.1", 1))
        self.addCleanup(listener.stop)
        return listener

    def follow(self, *listeners: Listener, now: float = 0.0) -> None:
        """Put the directory in force at these listeners."""
        paths = dict.fromkeys(listeners, str(self.directory))
        self.tls.take(at_once(self.tls.preparing(paths, now)), 10.0, 100)

    def begin(self, listener: Listener) -> tuple[Recorder, socket.socket]:
        """A handshake that has begun."""
        ours, theirs = unix_pair()
        self.addCleanup(theirs.close)
        protocol = Recorder()
        self.tls.handshakes(listener).serve(ours, "unix", protocol)
        return protocol, theirs

    def shake(self, listener: Listener) -> Recorder:
        """A handshake that is done."""
        protocol, theirs = self.begin(listener)
        client = Client(theirs)
        for _ in range(10):
            client.step()
            client.flush()
            self.reactor.turn(2)
            client.feed()
        self.assertTrue(client.established)
        return protocol


class ReloadTests(Case):
    """What a reload reads, and what it leaves."""

    def test_unchanged(self) -> None:
        """Files that have not changed are not read again: context and ticket key stay."""
        self.follow(self.one)
        context = self.tls.handshakes(self.one).context
        self.follow(self.one, self.two, now=5.0)
        self.assertIs(self.tls.handshakes(self.one).context, context)
        self.assertIs(self.tls.handshakes(self.two).context, context)

    def test_deferred(self) -> None:
        """Where TLS begins the client speaks first; where it ends that is not known."""
        self.follow(self.one, self.two)
        self.assertTrue(self.one.deferred and self.two.deferred)
        self.follow(self.two)
        self.assertEqual((self.one.deferred, self.two.deferred), (False, True))
        self.tls.stop()
        self.assertFalse(self.two.deferred)

    def test_ticket_keys(self) -> None:
        """After a day a reload renews the key of tickets though no file has changed."""
        self.follow(self.one)
        context = self.tls.handshakes(self.one).context
        self.follow(self.one, now=TICKET_SECONDS + 1)
        self.assertIsNot(self.tls.handshakes(self.one).context, context)

    def test_changed(self) -> None:
        """A renewed certificate is taken for handshakes to come; connections and counts stay."""
        self.follow(self.one)
        protocol = self.shake(self.one)
        handshakes = self.tls.handshakes(self.one)
        context = handshakes.context
        AUTHORITY.issue("a.test").save(self.a)
        self.follow(self.one)
        self.assertIs(self.tls.handshakes(self.one), handshakes)
        self.assertIsNot(handshakes.context, context)
        self.assertEqual((self.tls.done_total, protocol.reasons), (1, []))

    def test_read_again(self) -> None:
        """Who reloads is told of the files that have changed, not of those that are new to the
        site, nor of a ticket key that had its day."""
        def read_again(now: float = 1.0) -> tuple[str, ...]:
            paths = dict.fromkeys((self.one, self.two), str(self.directory))
            return self.tls.read_again(at_once(self.tls.preparing(paths, now)))

        self.assertEqual(read_again(), ())
        self.follow(self.one)
        self.assertEqual(read_again(), ())
        self.assertEqual(read_again(TICKET_SECONDS + 1), ())
        AUTHORITY.issue("a.test").save(self.a)
        self.assertEqual(read_again(), (str(self.directory),))

    def test_new_file(self) -> None:
        """A file that is added to the directory, and one that is taken away, are a change."""
        self.follow(self.one)
        b = AUTHORITY.issue("b.test").save(self.directory / "b.pem")
        self.follow(self.one)
        found = self.tls.keyring(self.one).certificates
        self.assertEqual(found.explain("b.test"), b)
        b.unlink()
        self.follow(self.one)
        self.assertEqual(self.tls.keyring(self.one).certificates.explain("b.test"), self.a)

    def test_broken(self) -> None:
        """All that is wrong is told at once, and what is in force stays."""
        self.follow(self.one)
        before = self.tls.keyring(self.one)
        (self.directory / "b.pem").write_text("nonsense")
        paths = {self.one: str(self.directory), self.two: "/no/such.pem"}
        error = self.assertRaises(CannotLoad, at_once, self.tls.preparing(paths, 0.0))
        self.assertEqual(len(error.problems), 2)
        self.assertIn("b.pem: expected a certificate", error.problems[0])
        self.assertIn("/no/such.pem: cannot be read", error.problems[1])
        self.assertIs(self.tls.keyring(self.one), before)

    def test_slices(self) -> None:
        """Each certificate is read in a slice of its own, so that many hold nothing up."""
        for number in range(5):
            AUTHORITY.issue(f"{number}.test").save(self.directory / f"{number}.pem")
        slices = self.tls.preparing({self.one: str(self.directory)}, 0.0)
        self.assertGreaterEqual(sum(1 for _ in slices), 12)

    def test_same_time(self) -> None:
        """A file of the same size and time as before is new all the same."""
        before = stamps([self.a])
        times = self.a.stat()
        self.a.write_bytes(self.a.read_bytes())
        os.utime(self.a, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertNotEqual(stamps([self.a]), before)
        self.assertEqual(stamps([None, "/no/such"]), ())


class ListenerTests(Case):
    """Listeners that come and go."""

    def test_gone(self) -> None:
        """A handshake goes on when its listener has TLS no more, and counts."""
        self.follow(self.one)
        handshakes = self.tls.handshakes(self.one)
        _, theirs = self.begin(self.one)
        self.follow()
        self.assertFalse(self.tls)
        self.assertNotIn(self.one, self.tls)
        self.assertEqual((self.tls.in_progress, handshakes.in_progress), (1, 1))
        theirs.close()
        self.reactor.turn(2)
        self.follow(self.two)
        self.assertEqual(sum(self.tls.failures.values()), 1)
        self.shake(self.two)
        self.assertEqual(self.tls.done_total, 1)
        self.assertEqual(self.tls.status()["handshakes_total"], 1)

    def test_stop(self) -> None:
        """A stop ends all handshakes, also those of listeners that are gone, and tells of each."""
        self.follow(self.one)
        first, _ = self.begin(self.one)
        self.follow(self.two)
        second, _ = self.begin(self.two)
        self.tls.stop()
        self.assertEqual({protocol for protocol, _ in self.failed}, {first, second})
        self.assertEqual(self.tls.in_progress, 0)

    def test_status(self) -> None:
        """The status has files, names and warnings; it is empty where there is no TLS."""
        self.assertEqual(self.tls.status(), {})
        AUTHORITY.issue("a.test").save(self.directory / "b.pem")
        self.follow(self.one)
        (listener,) = self.tls.status()["listeners"].values()
        self.assertEqual(
            [(each["file"], each["names"]) for each in listener["certificates"]],
            [(str(self.a), ["a.test"]), (str(self.directory / "b.pem"), ["a.test"])],
        )
        self.assertIn("not used for a.test", listener["warnings"][0])
