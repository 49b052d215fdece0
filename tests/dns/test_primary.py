"""A zone as its secondaries see it: its serial over changes and restarts, and who is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, ClassVar

import dns.message
import dns.rcode
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.slices import Slices, finish
from balancer.dns import serials, telling
from balancer.dns.loading import Loader
from balancer.dns.names import from_text
from balancer.dns.pools import PoolName
from balancer.dns.primary import Primary, file_name
from balancer.dns.serials import Said
from balancer.dns.served import Served
from balancer.dns.settings import DnsSettings
from balancer.dns.values import answer_line, peers_line, secondary_line
from balancer.dns.zone import Zone, apex
from balancer.wire.address import Address
from balancer.wire.statefile import save
from tests.dns.test_tsig import NOW, key_for, theirs_for
from tests.dns.world import all_up, judge, pool_of
from tests.dns.zones import HEAD, ORIGIN, n
from tests.lent import Lent

UNIX = NOW


class Line:
    """A connected socket to a secondary that answers what it is told to."""

    rcode: int | None = 0
    error: OSError | None = None

    def __init__(
        self, reactor: object, address: Address, received: Callable[[bytes], None],
        failed: Callable[[OSError], None],
    ) -> None:
        if self.error is not None:
            raise self.error
        self.address, self.received, self.failed = address, received, failed
        self.closed = False

    sent: ClassVar[list[tuple[Address, dns.message.Message]]] = []

    def send(self, data: bytes) -> bool:
        """Take a NOTIFY and answer it."""
        told = dns.message.from_wire(data, keyring=theirs_for())
        self.sent.append((self.address, told))
        if self.rcode is not None:
            reply = dns.message.make_response(told)
            reply.set_rcode(dns.rcode.Rcode(self.rcode))
            self.received(reply.to_wire())
        return True

    def close(self) -> None:
        """No more."""
        self.closed = True


class World(Lent):
    """What a site lends."""

    def __init__(self, state: str) -> None:
        self.reactor = Clock()
        self.state = state


class PrimaryTestCase(SynchronousTestCase):
    """One zone with a name that follows a pool of two, and one secondary."""

    text: str | None = HEAD

    def setUp(self) -> None:
        """Nothing is kept yet."""
        self.state = self.mktemp()
        os.makedirs(self.state)
        self.path = os.path.join(self.state, "zone")
        self.world: Any = World(self.state)
        self.saved: list[bytes] = []
        Line.sent.clear()
        self.patch(telling, "ConnectedDatagrams", Line)
        self.patch(time, "time", lambda: float(UNIX))
        self.pool = all_up(pool_of({"a": "192.0.2.1", "b": "192.0.2.2"}, interval=10.0))
        self.settings = self.options("10.0.0.1")
        self.begin()

    def options(self, *secondaries: str, transfer: str = "10.0.0.0/8") -> DnsSettings:
        """A section that tells these."""
        return DnsSettings(
            listen=(), answers=(answer_line("www pool=web"),),
            transfer=(peers_line(transfer),),
            notify=tuple(secondary_line(each) for each in secondaries),
        )

    def begin(self) -> None:
        """A new process."""
        self.loader = Loader("example.test", ORIGIN)
        self.primary = Primary("example.test", ORIGIN, self.world, self.write)
        self.served: Served | None = None
        self.reload()
        self.primary.start()

    def write(self, path: str, data: bytes) -> Deferred[None]:
        """Write at once."""
        self.saved.append(data)
        save(path, data)
        return succeed(None)

    def reload(self, settings: DnsSettings | None = None) -> None:
        """What the service does when it takes on settings."""
        self.settings = settings = settings or self.settings
        if self.text is not None:
            with open(self.path, "w") as file:
                file.write(self.text)
        own = apex(ORIGIN, [from_text("ns1", ORIGIN)], from_text("admin", ORIGIN), 1, 30)
        path = None if self.text is None else self.path
        tree, _ = finish(self.loader.loading(path, own))
        line = settings.answers[0]
        names = {line.key(ORIGIN): PoolName(line, self.pool, settings.ttl)}
        zone = Zone(tree, names)
        if self.served is None:
            self.served = Served(ORIGIN, zone)
        self.served.keys = {b"\1k\0": key_for()}
        self.served.renew(zone, names)
        self.primary.take(self.served, settings, self.loader.written)

    @property
    def serial(self) -> int:
        """What is served."""
        assert self.served is not None
        return self.served.zone.serial

    def turn(self, seconds: float = 0.0, **verdicts: bool) -> int:
        """Let the pool change, and time pass; the serial then."""
        assert self.served is not None
        judge(self.pool, **verdicts)
        self.served.settle("web")
        self.world.reactor.advance(seconds)
        return self.serial

    def told(self) -> list[int]:
        """The serials that the secondary was told of since the last call."""
        serials = [int(told.answer[0][0].serial) for _, told in Line.sent]
        Line.sent.clear()
        return serials

    def status(self) -> dict[str, Any]:
        """Of the one secondary."""
        (found,) = self.primary.status()["notify"]
        return dict(found)


class SerialTests(PrimaryTestCase):
    """Which serial is served when."""

    def test_begins(self) -> None:
        """It begins with the file's serial, of which the secondary is told."""
        self.assertEqual((self.serial, self.told()), (1, [1]))

    def test_server_down(self) -> None:
        """A server that goes down takes a serial in the next turn, and one that comes back too."""
        self.turn(5.0)
        self.assertEqual(self.turn(b=False), 2)
        self.assertEqual(self.told(), [1, 2])
        self.turn(5.0)
        self.assertEqual(self.turn(b=True), 3)
        self.assertEqual(self.told(), [3])

    def test_coalesced(self) -> None:
        """Within a second there is one more serial, whatever happens, and none if nothing has
        changed by then."""
        self.turn(5.0)
        self.assertEqual(self.turn(b=False), 2)
        self.assertEqual([self.turn(0.2, b=up) for up in (True, False, True)], [2, 2, 2])
        self.assertEqual(self.turn(0.4), 3)
        self.assertEqual(self.turn(2.0), 3)
        self.assertEqual(self.turn(a=False), 4)
        self.turn(0.1, a=True)
        self.turn(0.1, a=False)
        self.assertEqual(self.turn(10.0), 4)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_a_little_at_a_time(self) -> None:
        """Thousands of names are looked at over several slices, and make one serial together."""
        self.patch(serials, "NAMES_A_SLICE", 2)
        slices: list[int] = []
        looking = Said.looking

        def spy(said: Said, names: Any, keys: Any) -> Slices[None]:
            slices.append(0)
            for _ in looking(said, names, keys):
                slices[-1] += 1
                yield

        self.patch(Said, "looking", spy)
        assert self.served is not None
        zone = self.served.zone
        line = self.settings.answers[0]
        names = {n(f"w{at}"): PoolName(line, self.pool, 30) for at in range(5)}
        self.turn(5.0)
        self.served.renew(zone.with_dynamic(names), names)
        self.world.reactor.advance(5.0)
        self.assertEqual(([each for each in slices if each], self.told()), ([3], [1, 2]))
        self.assertEqual(self.turn(5.0, b=False), 3)
        self.assertEqual([each for each in slices if each], [3, 3])

    def test_pending(self) -> None:
        """A verdict that is pending shortens a TTL, and makes no serial."""
        self.turn(5.0)
        self.pool.record(self.pool.server("b"), False, "one failure", 1.0)
        self.assertEqual(self.turn(5.0), 1)

    def test_others_changed(self) -> None:
        """Names that come or go make a serial as well."""
        assert self.served is not None
        self.turn(5.0)
        self.served.renew(self.served.zone.with_dynamic({}), {})
        self.assertEqual(self.turn(1.0), 2)

    def test_nobody_sees(self) -> None:
        """Without `transfer` and `notify`, what pools answer makes no serial; a reload does."""
        self.reload(self.options(transfer="none"))
        before = self.serial
        self.turn(5.0)
        self.assertEqual(self.turn(5.0, b=False), before)
        self.text = HEAD + "www2 A 192.0.2.9\n"
        self.reload()
        self.assertEqual(self.serial, before + 1)

    def test_file(self) -> None:
        """The file's serial counts while it is newer; a change that leaves it, or takes it back,
        makes the next one."""
        for text, serial in (
            (HEAD, 1), (HEAD.replace("admin 1", "admin 9"), 9), (HEAD, 10), (HEAD, 10),
            (HEAD + "more A 192.0.2.3\n", 11), (HEAD.replace("admin 1", "admin 40"), 40),
        ):
            self.text = text
            self.reload()
            self.assertEqual(self.serial, serial)

    def test_restart(self) -> None:
        """Over a restart the serial stays, and grows by what has changed meanwhile."""
        self.turn(5.0)
        self.turn(b=False)
        self.assertEqual(self.serial, 2)
        self.begin()
        self.assertEqual(self.serial, 2)
        judge(self.pool, b=True)
        self.begin()
        self.assertEqual(self.serial, 3)
        self.text = HEAD + "more A 192.0.2.3\n"
        self.begin()
        self.assertEqual(self.serial, 4)

    def test_unreadable(self) -> None:
        """What cannot be read is logged, and the serial begins anew."""
        self.turn(5.0)
        self.turn(b=False)
        with open(os.path.join(self.state, file_name(ORIGIN)), "wb") as file:
            file.write(b"{")
        with capturedLogs() as logged:
            self.begin()
        self.assertEqual(self.serial, 1)
        (line,) = [formatEvent(each) for each in logged]
        self.assertIn("its serial begins anew", line)
        self.assertIn("dns-example.test.json", line)

    def test_stop(self) -> None:
        """A zone that is given up follows no pool any more."""
        self.successResultOf(self.primary.stop())
        self.assertEqual(self.turn(5.0, b=False), 1)
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])


class WithoutFileTests(PrimaryTestCase):
    """A zone that options make."""

    text = None

    def test_begins_with_the_time(self) -> None:
        """Its first serial is the time, so that it grows even when what was kept is lost."""
        self.assertEqual(self.serial, UNIX)
        self.turn(5.0)
        self.assertEqual(self.turn(b=False), UNIX + 1)
        os.unlink(os.path.join(self.state, file_name(ORIGIN)))
        self.patch(time, "time", lambda: UNIX + 5.0)
        self.begin()
        self.assertEqual(self.serial, UNIX + 5)


class NotifyTests(PrimaryTestCase):
    """Whom we tell, and what is shown of it."""

    def test_acknowledged(self) -> None:
        """The status says which serial the secondary has acknowledged; the metrics count it."""
        self.assertEqual(self.status(), {
            "secondary": "10.0.0.1:53", "key": None, "serial": 1, "acknowledged": True,
            "error": None, "tries": 1})
        (metric,) = self.primary.metrics()
        self.assertEqual(metric.name, "balancer_dns_notifies_total")
        self.assertEqual({each.labels["result"]: each.value for each in metric.samples},
                         {"acknowledged": 1, "refused": 0, "unanswered": 0, "superseded": 0})

    def test_silence(self) -> None:
        """A secondary that is silent is told again and again, and then given up."""
        self.patch(Line, "rcode", None)
        self.turn(5.0)
        self.turn(b=False)
        self.told()
        for wait in (1, 2, 4, 8, 16):
            self.world.reactor.advance(wait)
        self.assertEqual(self.told(), [2] * 5)
        self.world.reactor.advance(40)
        self.assertEqual((self.told(), self.status()["error"]), ([], "no answer"))
        self.assertEqual(self.world.reactor.getDelayedCalls(), [])

    def test_newer(self) -> None:
        """A newer serial takes the place of the one that is not acknowledged."""
        self.patch(Line, "rcode", None)
        self.turn(5.0)
        self.turn(b=False)
        self.turn(1.5, b=True)
        self.told()
        self.world.reactor.advance(1)
        self.assertEqual(self.told(), [3])

    def test_refused(self) -> None:
        """What it says against it is shown, and it is not told again."""
        self.patch(Line, "rcode", 5)
        self.turn(5.0)
        self.turn(b=False)
        self.assertEqual((self.status()["error"], self.status()["acknowledged"]),
                         ("REFUSED", False))
        self.world.reactor.advance(100)
        self.assertEqual(self.told(), [1, 2])

    def test_no_way(self) -> None:
        """No socket, or a network that is not there, is an error that may pass."""
        self.patch(Line, "error", OSError(101, "Network is unreachable"))
        self.turn(5.0)
        self.turn(b=False)
        self.assertEqual(self.status()["error"], "Network is unreachable")
        self.patch(Line, "error", None)
        self.world.reactor.advance(1)
        self.assertTrue(self.status()["acknowledged"])

    def test_reload(self) -> None:
        """A reload that changes nothing tells nobody; a new secondary is told, one that is gone is
        not, and its counts stay."""
        self.told()
        self.reload()
        self.assertEqual(self.told(), [])
        self.reload(self.options("10.0.0.1", "[2001:db8::1]:5353 key=k"))
        self.assertEqual([(str(where), told.had_tsig) for where, told in Line.sent],
                         [("[2001:db8::1]:5353", True)])
        self.reload(self.options("[2001:db8::1]:5353 key=k"))
        self.assertEqual(self.primary.metrics()[0].samples[0].value, 2)
        self.turn(100.0)

    def test_before_the_start(self) -> None:
        """Nobody is told before the zone is served."""
        self.told()
        self.primary = Primary("example.test", ORIGIN, self.world, self.write)
        self.served = None
        self.reload()
        self.assertEqual(self.told(), [])
        self.primary.start()
        self.assertEqual(self.told(), [1])


class FileNameTests(SynchronousTestCase):
    """Where a serial is kept."""

    def test_names(self) -> None:
        """Any zone has a file of its own with a name that file systems take."""
        texts = (".", "example.test.", "0/25.2.0.192.in-addr.arpa.", "*.example.test.",
                 "\\000.example.test.", f"{'a' * 63}." * 3, f"{'a' * 63}." * 3 + "b.")
        made = [file_name(from_text(text)) for text in texts]
        self.assertEqual(len(set(made)), len(texts))
        self.assertEqual(made[1], "dns-example.test.json")
        for name in made:
            self.assertNotIn("/", name)
            self.assertLess(len(name), 200)
