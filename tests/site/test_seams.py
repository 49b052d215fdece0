"""Sections that name each other, and those that are only read: how they are planned and lent."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import frozen
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.config.schema import Reference, Section, option
from balancer.config.values import name
from balancer.interfaces import (
    IBalancer,
    IBalancerMaker,
    IContext,
    IExplains,
    IPrepared,
    NotDone,
    PrepareError,
)
from balancer.site import references
from balancer.site.diff import changes
from balancer.site.operations import Operations
from balancer.site.plan import BadSite, Makers, Plan
from balancer.site.reading import read
from balancer.site.service import SiteService
from tests.site.test_plan import GateMaker, WordCheck
from tests.site.test_service import Gate, GatePrepared
from tests.wire.reactors import StillReactor


@frozen
class LinkSettings:
    """A section that may name another one of its kind, and a pool."""

    next: str | None = option(name, help="Another link.")
    through: str | None = option(name, help="A link that it works through.")
    pool: str | None = option(name, help="A pool.")
    fault: str | None = option(name, help="What prepare says.")


def _references(settings: LinkSettings) -> Iterable[Reference]:
    if settings.next is not None:
        yield Reference("link", settings.next, "next")
    if settings.through is not None:
        yield Reference("link", settings.through, "through", through=True)
    if settings.pool is not None:
        yield Reference("pool", settings.pool, "pool")


@implementer(IExplains)
class Link(Gate):
    """A balancer that writes down whom the context gives it, and explains."""

    def __init__(self, name: str, maker: LinkMaker, context: IContext) -> None:
        super().__init__(name, maker.done)
        self.maker, self.context = maker, context

    def prepare(self, settings: Any) -> IPrepared:
        context = self.context
        if settings.next is not None:
            self.maker.met[self.name] = context.balancer(f"link:{settings.next}")
        self.maker.seen = (context.site_name, context.geo, dict(context.sections("spot")))
        if settings.fault is not None:
            raise PrepareError(settings.fault)
        self.done.append(f"prepare {self.name}")
        return GatePrepared(self)

    def explain(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        return {"asked": dict(question)}


@implementer(IPlugin, IBalancerMaker)
class LinkMaker:
    """Makes links, under any kind."""

    def __init__(self, kind: str = "link") -> None:
        self.kind = kind
        self.section = Section(
            kind=kind, settings=LinkSettings, help="For tests.", references=_references
        )
        self.done: list[str] = []
        self.met: dict[str | None, IBalancer] = {}
        self.seen: tuple[str, str | None, dict[str, Any]] = ("", None, {})

    def make(self, name: str, context: IContext) -> IBalancer:
        self.done.append(f"make {name}")
        return Link(name, self, context)


@frozen
class SpotSettings:
    """A section that others read."""

    word: str = option(name, required=True, help="Any word.")


@implementer(IPlugin, IBalancerMaker)
class InertMaker:
    """An inert kind."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.section = Section(kind=kind, settings=SpotSettings, help="For tests.", inert=True)

    def make(self, name: str, context: IContext) -> IBalancer:
        raise AssertionError("nothing is made of an inert section")


CHAIN = """
[site]
admin = off
control = off
name = here
[link a]
next = b
[link b]
next = c
[link c]
"""

SPOTS = CHAIN + "[spot two]\nword = x\n[spot one]\nword = y\n"


class SeamsTestCase(SynchronousTestCase):
    """Links, spots and places, and dns that are links as well."""

    def setUp(self) -> None:
        self.reactor: Any = StillReactor()
        self.maker = LinkMaker()
        inert = {kind: InertMaker(kind) for kind in ("spot", "place")}
        gates = {kind: GateMaker(kind) for kind in ("gate", "ecmp")}
        self.makers = Makers(
            {"link": self.maker, "dns": LinkMaker("dns"), **inert, **gates}, {"tcp": WordCheck()}
        )

    def plan(self, text: str) -> Plan:
        """The plan of `text`."""
        return read(text, "s.ini", self.makers)

    def site(self, text: str) -> SiteService:
        """The site of `text`, not started."""
        return SiteService(self.reactor, self.plan(text), self.makers)

    def errors(self, text: str) -> list[str]:
        """The errors of `text`."""
        bad = self.assertRaises(BadSite, self.plan, text)
        return [str(problem) for problem in bad.problems if problem.severity == "error"]


class OrderTests(SeamsTestCase):
    """Balancers that name others."""

    def test_all_made_first(self) -> None:
        """All are made before the first is prepared, and each is prepared and committed after those
        that it names."""
        self.site(CHAIN)
        self.assertEqual(
            self.maker.done,
            [f"make {each}" for each in "abc"]
            + [f"prepare {each}" for each in "cba"]
            + [f"commit {each}" for each in "cba"],
        )

    def test_balancer(self) -> None:
        """While it is prepared a section is given the one that it names; an unknown one is a
        KeyError."""
        site = self.site(CHAIN)
        self.assertIs(self.maker.met["a"], site.live.balancers["link:b"])
        self.assertRaises(KeyError, site.context.balancer, "link:x")
        self.assertEqual(list(site.context.balancers("link")), ["a", "b", "c"])
        self.assertEqual(site.context.balancers("lin"), {})

    def test_balancer_of_the_coming_plan(self) -> None:
        """A reload gives those of the new plan while it is prepared, and the present ones again
        when it fails."""
        site = self.site(CHAIN)
        text = CHAIN.replace("[link c]\n", "[link c]\nnext = d\n[link d]\n")
        failing = text + "fault = broken\n"
        self.assertRaises(PrepareError, site.follow, self.plan(failing))
        self.assertIn("c", self.maker.met)
        self.assertRaises(KeyError, site.context.balancer, "link:d")
        site.follow(self.plan(text))
        self.assertIs(self.maker.met["c"], site.context.balancer("link:d"))

    def test_circle(self) -> None:
        """A circle is an error with the line of one of its references, all of it in words."""
        text = CHAIN.replace("[link c]\n", "[link c]\nnext = a\n")
        self.assertEqual(
            self.errors(text),
            [
                "s.ini:11: [link c] next: expected no circle, got [link c], which needs [link a], "
                "which needs [link b], which needs [link c]"
            ],
        )

    def test_many_circles(self) -> None:
        """Every circle is told, up to a bound."""
        text = "".join(f"[link a{at}]\nnext = a{at}\n" for at in range(5))
        self.assertEqual(len(self.errors(text)), 5)
        self.patch(references, "MAX_CIRCLES", 3)
        errors = self.errors(text)
        self.assertEqual(len(errors), 4)
        self.assertIn("too many circles", errors[-1])

    def test_unknown(self) -> None:
        """One that is not there is told as ever, and is no circle."""
        self.assertEqual(
            self.errors("[link a]\nnext = b\n"),
            ["s.ini:2: [link a] next: expected the name of a [link NAME] section, got 'b'"],
        )

    def test_health_through_another(self) -> None:
        """The pools of a section that it works through are its own; those of one that it merely
        names are not."""
        made = self.plan(
            "[pool p]\nservers = a 127.0.0.1:1\n[link a]\nthrough = b\n[link b]\npool = p\n"
            "[link c]\nnext = b\n"
        )
        self.assertEqual([each.pools for each in made.balancers], [("p",), ("p",), ()])


class InertTests(SeamsTestCase):
    """Sections that are only read."""

    def test_no_balancers(self) -> None:
        """They stand in the plan by their kind, name and settings, and are no balancers."""
        made = self.plan(SPOTS)
        self.assertEqual([each.key for each in made.inert], ["spot:two", "spot:one"])
        self.assertEqual([each.key for each in made.balancers], ["link:a", "link:b", "link:c"])

    def test_checked(self) -> None:
        """What is wrong in one is told with its line."""
        self.assertEqual(len(self.errors("[spot x]\nwrod = 1\n")), 2)

    def test_lent(self) -> None:
        """Balancers read them in the order of the file: while a plan is prepared, those of that
        plan, and afterwards those in force."""
        site = self.site(SPOTS)
        self.assertEqual(list(self.maker.seen[2]), ["two", "one"])
        text = SPOTS.replace("word = x", "word = z").replace("here", "there")
        fault = text.replace("next = b", "next = b\nfault = broken")
        self.assertRaises(PrepareError, site.follow, self.plan(fault))
        self.assertEqual((self.maker.seen[0], self.maker.seen[2]["two"].word), ("there", "z"))
        context = site.context
        self.assertEqual((context.site_name, context.sections("spot")["two"].word), ("here", "x"))
        site.follow(self.plan(text))
        self.assertEqual((context.site_name, context.sections("spot")["two"].word), ("there", "z"))
        self.assertEqual(context.sections("place"), {})

    def test_changes(self) -> None:
        """What a reload changes of them is told."""
        text = SPOTS.replace("[spot one]\nword = y\n", "[spot new]\nword = y\n")
        told = changes(self.plan(SPOTS), self.plan(text.replace("word = x", "word = z")))
        self.assertEqual(
            [change.text() for change in told],
            ["- spot one", "~ spot two: word x -> z", "+ spot new"],
        )

    def test_geo(self) -> None:
        """The path of the database of places is lent, and none is None."""
        self.site(CHAIN)
        self.assertIsNone(self.maker.seen[1])
        self.site(CHAIN.replace("name = here\n", "geo = /geo.mmdb\n"))
        self.assertEqual(self.maker.seen[:2], (socket.gethostname(), "/geo.mmdb"))


POOL = "[pool p]\nservers =\n a 127.0.0.1:1\n b {}\n"
DNS = "[dns z]\npool = p\n"


class ServersTests(SeamsTestCase):
    """Places of servers, and servers without ports."""

    def test_place(self) -> None:
        """A server's place is its settings', and another one keeps the server."""
        places = "[place x]\nword = w\n[place y]\nword = w\n"
        text = "[site]\nadmin = off\n" + POOL.format("127.0.0.1:2 place=x") + DNS + places
        site = self.site(text)
        server = site.context.pool("p").server("b")
        self.assertEqual(server.settings.place, "x")
        moved = self.plan(text.replace("place=x", "place=y"))
        told = [change.text() for change in changes(site.plan, moved)]
        self.assertEqual(told, ["~ server p/b: place x -> y"])
        site.follow(moved)
        self.assertIs(site.context.pool("p").server("b"), server)
        self.assertEqual(server.settings.place, "y")
        site.follow(self.plan(text.replace(" place=x", "")))
        self.assertEqual(server.settings.place, "")

    def test_unknown_place(self) -> None:
        """A place that is not there is told with the server's line."""
        text = POOL.format("127.0.0.1:2 place=xx") + DNS + "[place x]\nword = w\n"
        self.assertEqual(
            self.errors(text),
            [
                "s.ini:4: [pool p] servers: expected the name of a [place NAME] section, got 'xx'"
                "; did you mean 'x'?"
            ],
        )

    def test_without_port(self) -> None:
        """Where only dns and ecmp use the pool a port may be left out, of any kind of address."""
        for address in ("127.0.0.1", "[::1]", "a.test"):
            text = POOL.format(address) + DNS + "[ecmp e]\npool = p\n"
            made = self.plan(text).pools[0]
            line = made.settings.servers[1]
            self.assertEqual((line.endpoint.port, line.where), (0, address))
            self.assertIsNone(made.check)

    def test_port_is_needed(self) -> None:
        """Where another kind uses the pool, that is an error in the server's line; a pool that no
        section uses is not checked then."""
        text = POOL.format("127.0.0.1")
        self.assertEqual(
            self.errors(text + DNS + "[gate g]\npool = p\n"),
            [
                "s.ini:4: [pool p] servers: expected ADDRESS:PORT, since a [gate] section uses "
                "this pool, got '127.0.0.1'"
            ],
        )
        made = self.plan(text)
        self.assertEqual((made.pools[0].check, len(made.warnings)), (None, 1))

    def test_no_address(self) -> None:
        """What is neither an address nor one with a port is refused."""
        for address in ("127.0.0.1:0", "[::1", "::1", "[a.test]", "1.2.3", "a..b", "[::1%lo]", "*"):
            text = POOL.format(address) + DNS
            self.assertIn("s.ini:4: [pool p] servers: ", self.errors(text)[0])

    def test_check_without_port(self) -> None:
        """A check of servers without ports has to say which port it asks."""
        text = POOL.format("127.0.0.1") + "check = {}\n" + DNS
        self.assertEqual(
            self.errors(text.format("tcp good")),
            [
                "s.ini:5: [pool p] check: expected port=N or none, since b has no port, got "
                "'tcp good'"
            ],
        )
        self.assertIsNotNone(self.plan(text.format("tcp port=80")).pools[0].check)
        self.assertIsNone(self.plan(text.format("none")).pools[0].check)

    def test_unchecked(self) -> None:
        """A pool without a check says in a warning who does not need one."""
        warnings = self.plan(POOL.format("127.0.0.1:2") + DNS + "[ecmp e]\npool = p\n").warnings
        self.assertIn("since only dns and ecmp use it", str(warnings[0]))


class ExplainTests(SeamsTestCase):
    """A domain name is explained by the zone that it lies in."""

    def explain(self, text: str, name: str) -> Mapping[str, Any]:
        """What the operator is told of `name`."""
        site = self.site("[site]\nadmin = off\ncontrol = off\n" + text)
        operator = Operations(self.reactor, site, "")
        return operator.explain("dns", name, {"type": "A", "from": "::1"})

    def test_longest(self) -> None:
        """The longest match is asked, whatever its case and final dot."""
        text = "[dns test]\n[dns Example.test]\n[dns e.test]\n"
        for asked, zone in {
            "www.example.test": "Example.test",
            "EXAMPLE.TEST.": "Example.test",
            "wwwexample.test": "test",
            "e.test": "e.test",
        }.items():
            told = self.explain(text, asked)
            self.assertEqual(told["balancer"], f"dns:{zone}")
            self.assertEqual(told["asked"], {"name": asked, "type": "A", "from": "::1"})

    def test_root(self) -> None:
        """The root zone is for every name that no other zone has."""
        text = "[dns .]\n[dns test]\n"
        for asked, zone in {"www.test": "test", "www.example": ".", ".": "."}.items():
            self.assertEqual(self.explain(text, asked)["balancer"], f"dns:{zone}")

    def test_no_zone(self) -> None:
        """A name in no zone is told the zones that there are."""
        error = self.assertRaises(NotDone, self.explain, "[dns a.test]\n", "a.example")
        self.assertEqual(
            str(error), "expected a name in a zone of this site (a.test), got 'a.example'"
        )
        error = self.assertRaises(NotDone, self.explain, "", "a.example")
        self.assertIn("(none)", str(error))
