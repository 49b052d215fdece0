"""`[dns ZONE]` at work: settings come and go, pools change, and what the wire says meanwhile."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.config.slices import Slices
from balancer.dns import codes, edge
from balancer.dns.edge import LOOK_INTERVAL, SETTLE_WITHIN, packed
from balancer.dns.front import MAX_PER_SOURCE
from balancer.dns.geo.settings import PlaceSettings, clients
from balancer.dns.maker import DnsMaker, PlaceMaker
from balancer.dns.names import from_text
from balancer.dns.responder import Responder
from balancer.dns.served import Served
from balancer.dns.service import SHOWN_SERVERS, DnsBalancer
from balancer.dns.values import peers_line
from balancer.interfaces import (
    HttpEndpoint,
    IBalancerMaker,
    IExplains,
    IPrepared,
    IPreparedFromFiles,
    IPreparesInSlices,
    NotDone,
    PrepareError,
)
from balancer.wire.address import literal
from tests.dns.serving import opt, option, query, read, records
from tests.dns.site import LISTEN, FakeHttp, FakeNames, Site, settings
from tests.dns.test_protocol import framed
from tests.dns.test_responder import edns_options
from tests.dns.zones import HEAD, n

WWW = query(n("www"))
KEYS = 'key "k" { algorithm hmac-sha256; secret "c2VjcmV0"; };'
SECOND = "127.0.0.1:54"


def addresses(answer: object) -> list[str]:
    """Those in an answer."""
    return [line.rpartition(" ")[2] for line in records(answer)[0]]


class SiteTestCase(SynchronousTestCase):
    """A site, and files beside it."""

    def setUp(self) -> None:
        self.site = Site(self.mktemp())
        Path(self.site.state).mkdir()

    def file(self, name: str, text: str) -> str:
        """A file with that text."""
        path = Path(self.site.state) / name
        path.write_text(text)
        return str(path)

    def www(self, **more: Any) -> list[str]:
        """The addresses that the wire gives now."""
        return addresses(self.site.ask(WWW, **more))


class PreparingTests(SiteTestCase):
    """Settings that are taken on, and those that cannot be."""

    def test_interfaces(self) -> None:
        """Balancers, makers and what is prepared keep their contracts."""
        verifyObject(IPreparesInSlices, self.site.section())
        verifyObject(IExplains, self.site.section())
        verifyObject(IPrepared, self.site.section().prepare(settings()))
        for maker in (DnsMaker(), PlaceMaker()):
            verifyObject(IBalancerMaker, maker)
        context: Any = self.site
        self.assertIsInstance(DnsMaker().make("z", context), DnsBalancer)
        self.assertRaises(AssertionError, PlaceMaker().make, "z", context)

    def test_nothing_before_commit(self) -> None:
        """Before it is committed a section claims and tells nothing; abandoned it never was."""
        balancer = self.site.section()
        balancer.prepare(settings()).abandon()
        self.assertEqual((self.site.ports, self.site.subscribers), ({}, []))
        self.assertEqual(balancer.status(), {"kind": "dns"})
        self.assertEqual(balancer.metrics(), ())
        self.successResultOf(balancer.drain())
        balancer.stopService()

    def test_not_prepared(self) -> None:
        """Whatever cannot be used is told with its section and option, and changes nothing."""
        balancer = self.site.running()
        missing = str(Path(self.site.state) / "missing")
        bad_zone = self.file("zone", HEAD + "www CNAME x\n")
        bad_keys = self.file("keys", "key k;")
        for options, told in (
            ({"zone": missing}, "zone: expected a file that can be read"),
            ({"zone": self.site.state}, "zone: expected a file that can be read"),
            ({"zone": self.file("z2", "nonsense")}, "zone: "),
            ({"zone": bad_zone}, "answers: www.example.test.: expected no CNAME"),
            ({"tsig_file": missing}, "tsig-file: expected a file of keys"),
            ({"tsig_file": bad_keys}, "tsig-file: " + bad_keys + ":1: expected"),
            ({"tsig_file": self.file("k2", KEYS), "transfer": (peers_line("::/0 key=other"),)},
             "transfer: expected the name of a key"),
            ({"cookie_secret_file": missing}, "cookie-secret-file: expected one or two lines"),
            ({"cookie_secret_file": bad_keys}, "cookie-secret-file: expected one or two lines"),
            ({"cookie_secret_file": self.file("s", "00" * 15)}, "got lines of 30"),
            ({"access_log": "/full"}, "access-log: cannot open /full: Permission denied"),
        ):
            error = self.assertRaises(PrepareError, balancer.prepare, settings(**options))
            self.assertIn("[dns example.test] " + told if ": " in told else told, str(error))
            self.assertEqual(self.www(), ["192.0.2.1", "192.0.2.2", "192.0.2.3"])

    def test_zone_file(self) -> None:
        """Static records stand beside the answers; a reload reads the file only if it changed."""
        path = self.file("zone", HEAD + "static A 192.0.2.50\n")
        balancer = self.site.running(zone=path)
        static = query(n("static"))
        self.assertEqual(addresses(self.site.ask(static)), ["192.0.2.50"])
        before = balancer._served
        assert before is not None
        tree = before.zone.tree
        balancer.prepare(settings(zone=path)).commit()
        self.assertIs(before.zone.tree, tree)
        self.file("zone", HEAD + "static A 192.0.2.51\n")
        balancer.prepare(settings(zone=path)).commit()
        self.assertEqual(addresses(self.site.ask(static)), ["192.0.2.51"])
        self.site.reactor.settle()
        self.assertEqual(addresses(self.site.ask(static)), ["192.0.2.51"])

    def test_small_zone(self) -> None:
        """Garbage stays collectable when a small zone is read."""
        before = gc.get_freeze_count()
        self.site.running(zone=self.file("zone", HEAD))
        self.assertEqual(gc.get_freeze_count(), before)

    def test_read_again(self) -> None:
        """What a reload changes says that the file was read again if there is one, and it was."""
        def told(**options: Any) -> list[str]:
            prepared = balancer.prepare(settings(**options))
            prepared.commit()
            return list(IPreparedFromFiles(prepared).changes())

        balancer = self.site.running()
        self.assertEqual(told(ttl=60), [])
        path = self.file("zone", HEAD + "static A 192.0.2.50\n")
        read = ["~ dns example.test: the zone file was read again"]
        self.assertEqual(told(zone=path), read)
        self.assertEqual(told(zone=path), [])
        self.file("zone", HEAD + "static A 192.0.2.51\n; another\n")
        self.assertEqual(told(zone=path), read)

    def test_replaced_while_read(self) -> None:
        """A file that is replaced while it is read is read again by the next reload."""
        path = self.file("zone", HEAD + "static A 192.0.2.50\n" * 2)
        balancer = self.site.running(zone=None)
        preparing = balancer.preparing(settings(zone=path))
        next(preparing)
        os.replace(self.file("new", HEAD + "static A 192.0.2.51 ; and more\n"), path)
        try:
            while True:
                next(preparing)
        except StopIteration as end:
            end.value.commit()
        balancer.prepare(settings(zone=path)).commit()
        self.assertEqual(addresses(self.site.ask(query(n("static")))), ["192.0.2.51"])


class ReloadTests(SiteTestCase):
    """What a reload keeps."""

    def test_figures_and_limits(self) -> None:
        """Figures go on, and whoever was limited stays limited unless the limit is another one."""
        balancer = self.site.running(rate_limit=1, rate_limit_slip=0)
        for _ in range(3):
            self.site.ask(WWW)
        balancer.prepare(settings(rate_limit=1, rate_limit_slip=0)).commit()
        self.assertIsNone(self.site.ask(WWW))
        balancer.prepare(settings(rate_limit=2, rate_limit_slip=0)).commit()
        self.assertIsNotNone(self.site.ask(WWW))
        status = balancer.status()
        self.assertEqual((status["answers_total"], status["dropped_total"]), (2, 3))

    def test_options(self) -> None:
        """Other answers and another TTL hold at once; the log is written from then on."""
        balancer = self.site.running()
        self.www()
        balancer.prepare(settings(answers="www pool=other ttl=7s", access_log="x")).commit()
        self.assertEqual(records(self.site.ask(WWW))[0],
                         ["www.example.test. 7 IN A 192.0.2.1"])
        self.assertIn("192.0.2.77 dns/example.test udp A www.example.test. NOERROR 1",
                      self.site.log.lines[0])
        balancer.prepare(settings()).commit()
        self.www()
        self.assertEqual(len(self.site.log.lines), 1)

    def test_listeners(self) -> None:
        """It is served at other addresses, and no more at those of before."""
        balancer = self.site.running()
        balancer.prepare(settings(listen=SECOND)).commit()
        self.assertIsNone(self.site.ask(WWW))
        self.assertEqual(len(self.www(at=SECOND)), 3)
        self.assertTrue(self.site.connect().closed)

    def test_cookies(self) -> None:
        """The secret is kept in the site's state; a section's own file counts where that section
        is served, whoever else is there, and as long as it is."""
        tail = opt(option(10, b"clientco"))

        def cookie(at: str, site: Site = self.site) -> bytes:
            return edns_options(site.ask(query(n("www"), tail=tail), at=at))[10][16:]

        first = self.site.running(cookie_secret_file=self.file("s", "01" * 16))
        self.site.running("other.test", listen=f"{LISTEN} {SECOND}")
        own, made = cookie(LISTEN), cookie(SECOND)
        self.assertNotEqual(own, made)
        first.prepare(settings(cookie_secret_file=self.file("s", "01" * 16))).commit()
        self.assertEqual((cookie(LISTEN), cookie(SECOND)), (own, made))
        first.stopService()
        self.assertEqual(cookie(LISTEN), made)
        other = Site(self.site.state)
        other.running()
        self.assertEqual(cookie(LISTEN, other), made)

    def test_secret_that_cannot_be_kept(self) -> None:
        """Without a place for the secret, a reload keeps the one in force."""
        self.site.state = self.file("plain", "a file, no directory")
        packet = query(n("www"), tail=opt(option(10, b"clientco")))
        balancer = self.site.running()
        before = self.site.ask(packet)
        balancer.prepare(settings()).commit()
        self.assertEqual(self.site.ask(packet), before)

    def test_https(self) -> None:
        """HTTPS records follow what the http balancer serves under TLS."""
        http = self.site.sections_of["http:front"] = FakeHttp()
        balancer = self.site.running(answers="www pool=web https=http:front")
        asked = query(n("www"), codes.HTTPS)
        self.assertEqual(records(self.site.ask(asked))[0], [])
        here = literal("127.0.0.1", 8443)
        http.found = [HttpEndpoint(here, 8443, True, ("h2",), ("web",)),
                      HttpEndpoint(here, 80, False, (), ("web",))]
        http.tell()
        (line,) = records(self.site.ask(asked))[0]
        self.assertIn('1 . alpn="h2" port="8443" ipv4hint="192.0.2.1,192.0.2.2,192.0.2.3"', line)
        balancer.prepare(settings()).commit()
        self.assertEqual(http.listeners, [])
        self.assertEqual(records(self.site.ask(asked))[0], [])

    def test_subdomains(self) -> None:
        """Servers that have names of their own are answered by them, as long as they have them."""
        named = self.site.sections_of["subdomains:www"] = FakeNames(self.site.pools["web"])
        path = self.file("zone", HEAD + "www3 CNAME x\n")
        balancer = self.site.running(zone=path)
        self.assertIsNotNone(balancer)
        named.named = {"a": "www1.example.test", "b": "www.example.test"}
        named.tell()
        self.assertEqual(records(self.site.ask(query(n("www1"))))[0],
                         ["www1.example.test. 5 IN A 192.0.2.1"])
        # A name that is in answers stays what it is there.
        self.assertEqual(len(self.www()), 3)
        # One that the zone's records have is left out alone.
        named.named = {"a": "www3.example.test", "b": "www4.example.test"}
        named.tell()
        self.assertEqual(read(self.site.ask(query(n("www1")))).rcode(), codes.NXDOMAIN)
        self.assertEqual(addresses(self.site.ask(query(n("www4")))), ["192.0.2.2"])
        self.assertIn("CNAME", str(records(self.site.ask(query(n("www3"))))[0]))
        named.named = {}
        named.tell()
        self.assertEqual(read(self.site.ask(query(n("www1")))).rcode(), codes.NXDOMAIN)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        balancer.stopService()
        self.assertEqual(named.listeners, [])


class PoolTests(SiteTestCase):
    """News of pools."""

    def test_gathered(self) -> None:
        """What happens to a pool within 50 ms changes its answers once, and soon."""
        self.site.running()
        self.www()
        self.site.judge(False, "a")
        self.site.reactor.advance(SETTLE_WITHIN / 2)
        self.site.judge(False, "b")
        self.assertEqual(len(self.www()), 3)
        self.site.reactor.advance(SETTLE_WITHIN / 2)
        self.assertEqual(self.www(), ["192.0.2.3"])

    def test_slices(self) -> None:
        """A thousand names look at their pool in slices, one that changes meanwhile is looked at
        again, and what is under way ends with the last section."""
        balancer = self.site.running(answers="\n".join(f"n{at} pool=web" for at in range(1000)))
        held: list[tuple[Slices[None], Deferred[None]]] = []

        def hold(reactor: object, work: Slices[None]) -> Deferred[None]:
            held.append((work, Deferred(lambda _: work.close())))
            return held[-1][1]

        self.patch(edge, "in_slices", hold)

        def servers() -> list[int]:
            names = balancer.status()["names"]
            return sorted(len(each["servers"]) for each in names.values())

        self.site.judge(False, "a")
        self.site.reactor.advance(1)
        ((work, _),) = held
        next(work)
        self.assertEqual((servers()[0], servers()[-1]), (2, 3))
        self.site.judge(False, "b")
        self.site.reactor.advance(1)
        self.assertEqual(len(held), 1)
        self.assertGreater(len(list(work)), 1)
        self.site.reactor.advance(1)
        self.assertEqual(len(list(held[1][0])), 5)
        self.assertEqual(servers(), [1] * 1000)
        self.site.judge(False, "c")
        self.site.reactor.advance(1)
        self.successResultOf(balancer.stopService())
        self.assertEqual(list(held[2][0]), [])

    def test_pending(self) -> None:
        """A check that disagrees with a verdict is no event, and still shortens the TTL."""
        balancer = self.site.running()
        pool = self.site.pools["web"]
        self.site.reactor.advance(LOOK_INTERVAL)
        pool.record(pool.server("a"), False, "", 1.0)
        self.site.reactor.advance(LOOK_INTERVAL)
        self.assertIn(" 4 IN A ", records(self.site.ask(WWW))[0][0])
        self.assertEqual(balancer.status()["names"]["www.example.test."]["ttl"], 4)

    def test_others(self) -> None:
        """A pool's news touch no other pool's answers."""
        self.site.running(answers="www pool=web\nx pool=other")
        self.www()
        self.site.ask(query(n("x")))
        self.site.judge(False, "x", pool="other")
        self.site.reactor.advance(1)
        self.assertEqual(list(self.site.front().responder._table), [WWW[12:]])

    def test_quiet(self) -> None:
        """Stopped, it hears and does nothing any more."""
        balancer = self.site.running()
        self.site.judge(False, "a")
        balancer.stopService()
        self.assertEqual(self.site.subscribers, [])
        self.assertEqual(self.site.calls(), [])
        self.assertIsNone(self.site.ask(WWW))

    def test_places(self) -> None:
        """Places hold from the reload on, for all zones of the site."""
        geo = "www pool=web policy=geo"
        first = self.site.running(answers=geo)
        self.site.running("other.test", answers=geo)
        for name in ("www", "www.other.test."):
            self.assertEqual(len(addresses(self.site.ask(query(n(name))))), 3)
        self.site.places["eu"] = PlaceSettings(networks=(clients("192.0.2.0/24"),))
        first.prepare(settings(answers=geo)).commit()
        for name in ("www", "www.other.test."):
            self.assertEqual(addresses(self.site.ask(query(n(name)))), ["192.0.2.1"])


class ListenerTests(SiteTestCase):
    """Sockets, connections, and several zones at one address."""

    def test_two_zones(self) -> None:
        """Zones share a listener; one that leaves takes nothing of the other away."""
        first = self.site.running()
        self.site.running("other.test", answers="www pool=other")
        other = query(n("www.other.test."))
        self.assertEqual(addresses(self.site.ask(other)), ["192.0.2.1"])
        client = self.site.connect()
        self.successResultOf(first.drain())
        first.stopService()
        self.assertEqual(addresses(self.site.ask(other)), ["192.0.2.1"])
        self.assertEqual(read(self.site.ask(WWW)).rcode(), codes.REFUSED)
        self.assertFalse(client.closed)
        self.assertFalse(self.site.connect().closed)

    def test_many_zones(self) -> None:
        """A reload that changes nothing looks at no other zone of the same address."""
        sections = [self.site.running(f"z{at}.test", answers="") for at in range(3)]
        responder = self.site.front().responder
        cookies = responder.cookies
        calls: list[object] = []
        for name in ("serve", "join", "leave"):
            self.patch(responder, name, calls.append)
        for section in sections:
            section.prepare(settings(answers="")).commit()
        self.assertEqual(calls, [])
        self.assertIs(responder.cookies, cookies)

    def test_one_joins(self) -> None:
        """A zone that comes or goes touches no other zone of its address, however many."""
        for at in range(3):
            self.site.running(f"z{at}.test", answers="")
        told: list[Served] = []
        responder = self.site.front().responder

        def noted(change: Callable[[Served], None], served: Served) -> None:
            told.append(served)
            change(served)

        for name in ("join", "leave"):
            self.patch(responder, name, partial(noted, getattr(responder, name)))
        self.site.running("late.test", answers="").stopService()
        self.assertEqual([each.key for each in told], [from_text("late.test")] * 2)

    def test_all_drain(self) -> None:
        """When all zones of a listener drain, its connections end after what was asked."""
        sections = [self.site.running(), self.site.running("other.test")]
        idle = self.site.connect()
        busy = self.site.connect("192.0.2.78")
        busy.comes(framed(*[WWW] * 150))
        self.site.reactor.turn()
        drained = [section.drain() for section in sections]
        self.assertNoResult(drained[1])
        self.assertTrue(self.site.connect().closed)
        self.assertEqual(len(self.www()), 3)
        self.site.reactor.settle()
        self.assertTrue(idle.closed and busy.closed)
        self.assertEqual(busy.outbox.count(b"\x12\x34"), 150)
        for each in drained:
            self.successResultOf(each)

    def test_connections(self) -> None:
        """Queries by TCP are answered, counted, and end with the idle time."""
        balancer = self.site.running()
        client = self.site.connect()
        client.comes(framed(WWW))
        self.site.reactor.settle()
        self.assertEqual(addresses(bytes(client.outbox[2:])), self.www())
        listeners = balancer.status()["listeners"]
        self.assertEqual(next(iter(listeners.values()))["connections"], 1)
        for _ in range(120):
            self.site.reactor.advance(0.1)
            self.site.wheel.advance(self.site.reactor.seconds())
        self.site.reactor.settle()
        self.assertTrue(client.closed)
        self.assertEqual(len(self.site.front().connections), 0)
        self.assertEqual(len(self.site.front().sources), 0)

    def test_bounds(self) -> None:
        """One source has so many connections; all together so many, and then the one goes that
        has been idle for longest."""
        self.site.running()
        front = self.site.front()
        clients_ = [self.site.connect() for _ in range(MAX_PER_SOURCE + 1)]
        self.assertEqual([each.closed for each in clients_], [False] * MAX_PER_SOURCE + [True])
        front._most = MAX_PER_SOURCE
        self.site.reactor.advance(1)
        clients_[0].comes(framed(WWW))
        self.site.reactor.settle()
        self.assertFalse(self.site.connect("192.0.2.78").closed)
        self.assertEqual([each.closed for each in clients_[:2]], [False, True])
        self.assertEqual((len(front.connections), front.refused_total), (MAX_PER_SOURCE, 2))
        self.assertFalse(self.site.connect().closed)

    def test_moves(self) -> None:
        """When a section moves to another address, what was asked at the old one is answered, and
        nobody keeps answers for it any more."""
        balancer = self.site.running()
        idle = self.site.connect()
        busy = self.site.connect("192.0.2.78")
        busy.comes(framed(*[WWW] * 150))
        self.site.reactor.turn()
        balancer.prepare(settings(listen=SECOND)).commit()
        self.site.reactor.settle()
        self.assertEqual(busy.outbox.count(b"\x12\x34"), 150)
        self.assertTrue(idle.closed and busy.closed)
        self.assertFalse(idle.reset or busy.reset)
        served = balancer._served
        assert served is not None
        watchers = [each for each in served.watchers if isinstance(each, Responder)]
        self.assertEqual(watchers, [self.site.front(SECOND).responder])

    def test_moves_and_stops(self) -> None:
        """A section that stops ends connections to its address of before, too."""
        balancer = self.site.running()
        client = self.site.connect()
        client.room = 0
        client.comes(framed(WWW))
        self.site.reactor.turn()
        balancer.prepare(settings(listen=SECOND)).commit()
        self.site.reactor.settle()
        self.assertFalse(client.closed)
        balancer.stopService()
        self.site.reactor.settle()
        self.assertTrue(client.closed)

    def test_stop(self) -> None:
        """Stopped without a drain, every connection ends."""
        balancer = self.site.running()
        client = self.site.connect()
        balancer.stopService()
        self.site.reactor.settle()
        self.assertTrue(client.closed)

    def test_packed(self) -> None:
        """Addresses of both families, with a zone or without."""
        self.assertEqual(packed("192.0.2.1"), b"\xc0\0\2\1")
        self.assertEqual(packed("fe80::1%eth0"), b"\xfe\x80" + bytes(13) + b"\1")


class TellingTests(SiteTestCase):
    """What operators are told."""

    def test_explain(self) -> None:
        """It tells what the wire says next, and takes nobody's turn."""
        balancer = self.site.running(
            answers="www pool=web policy=round-robin max=1\n* pool=other\ngeo pool=web policy=geo")
        for _ in range(5):
            for _ in range(2):
                told = balancer.explain({"name": "WWW.example.test", "type": "A"})
            (line,) = records(self.site.ask(WWW))[0]
            self.assertEqual(told["records"], [line.replace(" IN ", " ")])
        self.assertEqual(told["chosen"], "b")
        self.assertEqual([each["usable"] for each in told["candidates"]], [True] * 3)
        wild = balancer.explain({"name": "x.y.example.test.", "type": "a"})
        self.assertEqual((wild["rule"], wild["pool"]), ("the wildcard *.example.test.", "other"))
        self.assertEqual(wild["records"], ["x.y.example.test. 30 A 192.0.2.1"])

    def test_many_servers(self) -> None:
        """Thousands of names and servers do not multiply in the status: it shows some of them."""
        self.site.pools["web"] = self.site.pool_of("web", [f"s{each}" for each in range(150)])
        named = FakeNames(self.site.pools["web"])
        named.named = {"s7": "www7.example.test"}
        self.site.sections_of["subdomains:s"] = named
        names = self.site.running().status()["names"]
        self.assertEqual(len(names["www.example.test."]["servers"]), SHOWN_SERVERS)
        self.assertEqual(names["www7.example.test."]["servers"], ["s7"])

    def test_looks_once(self) -> None:
        """A pool is asked once whom the last process took for up, however many names follow it."""
        asked = []

        def remembered(pool: str) -> frozenset[str]:
            asked.append(pool)
            return frozenset()

        self.patch(self.site, "remembered", remembered)
        self.site.running(answers="\n".join(f"n{each} pool=web" for each in range(9)))
        self.assertEqual(asked, ["web"])

    def test_explain_beside(self) -> None:
        """A pool whose addresses only go beside an answer has no say in it."""
        path = self.file("zone", HEAD + "mail MX 10 www\n")
        balancer = self.site.running(zone=path, answers="www pool=web when-down=servfail")
        self.site.judge(False, "a", "b", "c")
        self.site.reactor.advance(1)
        told = balancer.explain({"name": "mail.example.test", "type": "MX"})
        self.assertEqual((told["answer"], "pool" in told), ("NOERROR: answer", False))
        told = balancer.explain({"name": "www.example.test", "type": "A"})
        self.assertEqual(told["answer"], "SERVFAIL: pool web: no server is up")
        self.assertEqual([each["why"] for each in told["candidates"]],
                         ["down: as the test says"] * 3)

    def test_explain_place(self) -> None:
        """For a client, its place and the prefix that the answer holds for."""
        self.site.places["eu"] = PlaceSettings(networks=(clients("10.0.0.0/8"),))
        self.site.places["us"] = PlaceSettings(networks=(clients("11.0.0.0/8"),))
        balancer = self.site.running(answers="www pool=web policy=geo")
        told = balancer.explain({"name": "www.example.test", "type": "A", "from": "10.1.2.3"})
        self.assertEqual((told["place"], told["scope"], told["chosen"]), ("eu", 7, "a"))

    def test_not_explained(self) -> None:
        """What is no question about that zone is said to be none."""
        balancer = self.site.running()
        for question in ({"name": "www.other."}, {"name": ".."}, {"name": ""},
                         {"name": "www.example.test", "type": "NOPE"},
                         {"name": "www.example.test", "type": "AXFR"},
                         {"name": "www.example.test", "type": "TYPE0"},
                         {"name": "www.example.test", "from": "nowhere"}):
            self.assertRaises(NotDone, balancer.explain, question)

    def test_metrics(self) -> None:
        """Every family is ours, has its label, and counts what was asked."""
        balancer = self.site.running()
        for packet in (WWW, WWW, query(n("none")), query(n("x.other.")), b"", query(n("www"), 731)):
            self.site.ask(packet)
        found = {each.name: each.samples for each in balancer.metrics()}
        for name, samples in found.items():
            self.assertTrue(name.startswith("balancer_dns_"))
            self.assertLessEqual({each.labels["balancer"] for each in samples}, {"example.test"})
        self.assertEqual(
            {(each.labels["type"], each.labels["code"]): each.value
             for each in found["balancer_dns_answers_total"]},
            {("A", "NOERROR"): 2, ("A", "NXDOMAIN"): 1, ("other", "NOERROR"): 1})
        self.assertEqual(found["balancer_dns_ignored_total"][0].value, 1)
        self.assertEqual(balancer.status()["codes"], {"NOERROR": 3, "NXDOMAIN": 1})
        self.assertEqual(balancer.status()["zone"], "example.test.")
