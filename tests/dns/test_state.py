"""No answer outlives the state that it was made from: any changes, and questions between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.rcode
import dns.rdatatype
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.dns import codes
from balancer.dns.edge import LOOK_INTERVAL
from balancer.dns.geo.settings import PlaceSettings, clients
from balancer.dns.service import DnsBalancer
from balancer.interfaces import HttpEndpoint
from balancer.wire.address import literal
from tests.dns import site as dns_site
from tests.dns.serving import opt, option, query, read, records
from tests.dns.site import FakeHttp, FakeNames, Site
from tests.dns.test_responder import edns_options
from tests.dns.zones import HEAD, n

ANSWERS = (
    "www pool=web\n* pool=other",
    "www pool=other https=http:front\n*.w pool=web policy=geo",
    "www pool=web policy=geo when-down=nodata https=http:front\nx pool=other when-down=servfail",
    "www pool=web policy=failover when-down=servfail ttl=1m\nmail pool=web",
)
ZONES = (None, "mail MX 10 www\nalias CNAME www\n", "alias CNAME a.w\nx.w TXT x\nmail NS x.mail\n")
NETWORKS = ("", "10.0.0.0/8 192.0.2.0/24", "10.1.0.0/16")
SERVERS = st.sampled_from("abc")
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["up", "down", "once", "maintain", "ready"]), SERVERS),
    st.tuples(st.just("weigh"), SERVERS),
    st.tuples(st.just("other"), st.booleans()),
    st.tuples(st.just("reload"), st.tuples(*[st.integers(0, 11)] * 3)),
    st.tuples(st.sampled_from(["names", "http"]), st.integers(0, 2)),
)
SUBNET = option(8, b"\0\1\x18\0\x0a\1\2")
QUESTIONS = [
    query(n(name), qtype, tail)
    for name in ("www", "alias", "a.w", "b.w", "x", "y", "mail", "www1", "z.mail")
    for qtype in (codes.A, codes.HTTPS, codes.MX)
    for tail in (opt(), opt(SUBNET))
]


def told(answer: object) -> object:
    """An answer without the order of its records."""
    return edns_options(answer), read(answer).rcode(), records(answer)


class StateTests(SynchronousTestCase):
    """A section, and a new one that has seen nothing but the state of now."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def begin(self) -> None:
        """A section at work."""
        self.site = self.others(Site(str(self.directory)))
        self.options: tuple[int, int, int] = (0, 0, 0)
        self.balancer = self.site.section()
        self.reload(self.balancer, self.site)

    def others(self, site: Site) -> Site:
        """Other sections of the site."""
        site.sections_of["http:front"] = FakeHttp()
        site.sections_of["subdomains:www"] = FakeNames(site.pools["web"])
        return site

    def reload(self, balancer: DnsBalancer, site: Site) -> None:
        """Put the options in force."""
        answers, zone, networks = self.options
        site.places = {"eu": PlaceSettings(networks=(clients(NETWORKS[networks % 3] or "none"),)),
                       "us": PlaceSettings(networks=(clients("172.16.0.0/12"),))}
        path = None
        if text := ZONES[zone % 3]:
            path = str(self.directory / f"zone{zone % 3}")
            Path(path).write_text(HEAD + text)
        lines = ANSWERS[answers % 4]
        if zone % 3 and "mail pool" in lines:
            lines = lines.replace("\nmail pool=web", "")
        more = dns_site.settings(answers=lines, zone=path)
        balancer.prepare(more).commit()
        if not balancer.running:
            balancer.startService()

    def change(self, what: str, how: Any) -> None:
        """Something happens, and then half a second nothing."""
        web = self.site.pools["web"]
        if what in ("up", "down"):
            self.site.judge(what == "up", how)
        elif what == "once":
            web.record(web.server(how), web.server(how).verdict != "up", "", 1.0)
        elif what in ("maintain", "ready"):
            self.site.publish(web, getattr(web, what)(web.server(how)))
        elif what == "weigh":
            web.set_weight(web.server(how), 3)
        elif what == "other":
            self.site.judge(how, "x", pool="other")
        elif what == "reload":
            self.options = how
            self.reload(self.balancer, self.site)
        else:
            self.tell(self.site, what, how)
        self.site.reactor.advance(LOOK_INTERVAL)

    def tell(self, site: Site, what: str, how: int) -> None:
        """Another section tells of names, or of where it listens."""
        each = site.sections_of["subdomains:www" if what == "names" else "http:front"]
        if what == "names":
            each.named = {server: f"www{at}.example.test" for at, server in
                          enumerate(("", "a", "ab")[how], 1)}
        else:
            each.found = [
                HttpEndpoint(literal("127.0.0.1", at), at, True, ("h2",), ("web", "other"))
                for at in range(1, 1 + how)
            ]
        each.tell()

    def scratch(self) -> Site:
        """A site in the state of now, which has been asked nothing."""
        site = Site(str(self.directory))
        site.pools = self.site.pools
        self.others(site)
        for key in ("subdomains:www", "http:front"):
            known, new = self.site.sections_of[key], site.sections_of[key]
            new.__dict__.update({**known.__dict__, "listeners": []})
        made = site.section()
        self.reload(made, site)
        # The serial alone remembers what was before.
        assert made._served is not None and self.balancer._served is not None
        made._served.number(self.balancer._served.zone.serial)
        return site

    @settings(max_examples=3, deadline=None)
    @given(st.lists(CHANGES, min_size=1, max_size=8), st.randoms())
    @example([("reload", (2, 1, 1)), ("down", "a"), ("reload", (2, 1, 0)), ("http", 1)], None)
    @example([("reload", (1, 2, 1)), ("down", "b"), ("once", "c"), ("names", 2)], None)
    def test_as_from_scratch(self, changes: list[tuple[str, Any]], random: Any) -> None:
        """After each change every question gets the answer that a new process would give."""
        self.begin()
        for what, how in changes:
            asked = QUESTIONS if random is None else random.sample(QUESTIONS, 20)
            for packet in asked:
                self.site.ask(packet)
            self.change(what, how)
            scratch = self.scratch()
            for packet in asked:
                answer, expected = self.site.ask(packet), scratch.ask(packet)
                if answer != expected:  # addresses take turns where a server is down
                    self.assertEqual(told(answer), told(expected), (changes, what, how, packet))

    @settings(max_examples=1, deadline=None)
    @given(st.lists(CHANGES, max_size=6))
    @example([("reload", (1, 2, 1)), ("down", "b"), ("http", 1), ("names", 1)])
    @example([("reload", (2, 1, 1)), ("down", "a"), ("down", "b"), ("down", "c")])
    @example([("reload", (3, 2, 1)), ("down", "a"), ("down", "b"), ("down", "c")])
    def test_explained(self, changes: list[tuple[str, Any]]) -> None:
        """What is explained is what the wire gives next, whatever came before."""
        self.begin()
        for what, how in changes:
            self.change(what, how)
        for packet in QUESTIONS:
            question = read(packet).question[0]
            told = self.balancer.explain({
                "name": question.name.to_text(), "type": dns.rdatatype.to_text(question.rdtype),
                "from": "192.0.2.77" if packet.endswith(opt()) else "10.1.2.3"})
            answer = self.site.ask(packet)
            rcode = dns.rcode.to_text(read(answer).rcode())
            self.assertTrue(told["answer"].startswith(rcode), (told, changes))
            given, authority, _ = records(answer)
            if rcode == "SERVFAIL":
                continue
            self.assertEqual(sorted(told["records"]),
                             [each.replace(" IN ", " ") for each in given or authority],
                             (changes, told))
