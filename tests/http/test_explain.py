"""What is explained is what happens: the rule, the candidates and the one that is chosen."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.interfaces import IExplains, NotDone
from tests.http.world import World, pool_of

ROUTES = """pool = app
routes =
    host=shop.example path=/cart/* -> pool other
    method=POST host=shop.example -> respond 405 no
    host=*.old.example -> redirect https://new.example/*
    source=198.51.100.0/24 -> pool other
    header:X-None=1 -> pool other
"""


def world(algorithm: str = "round-robin") -> World:
    """A balancer with these routes and two pools."""
    return World(
        ROUTES,
        pool_of("a", "b", "c", algorithm=algorithm),
        pool_of("x", "y", name="other", algorithm=algorithm),
    )


def ask(to: World, url: str, method: str = "GET", source: str = "192.0.2.1") -> dict[str, Any]:
    """What the balancer explains."""
    return dict(to.balancer.explain({"method": method, "url": url, "from": source}))


class ExplainTests(SynchronousTestCase):
    """`lbctl explain http`."""

    def test_interface(self) -> None:
        """An http balancer explains."""
        verifyObject(IExplains, world().balancer)

    def test_route(self) -> None:
        """The first route that matches is named as the site file has it, with its pool."""
        told = ask(world(), "http://shop.example/cart/1")
        self.assertEqual(told["rule"], "routes: host=shop.example path=/cart/* -> pool other")
        self.assertEqual((told["pool"], told["chosen"]), ("other", "x"))

    def test_default(self) -> None:
        """Without a route that matches, the pool of the section is the rule."""
        told = ask(world(), "http://any.example/")
        self.assertEqual((told["rule"], told["pool"]), ("pool = app", "app"))

    def test_own_answers(self) -> None:
        """Answers of the balancer's own are told with their code."""
        told = ask(world(), "http://shop.example/", "POST")
        self.assertEqual(told["answer"], {"code": 405, "text": "no\n"})
        told = ask(world(), "http://www.old.example/x")
        self.assertEqual(told["answer"]["code"], 302)

    def test_source(self) -> None:
        """Where the question says it comes from counts, with a port or without."""
        for source in ("198.51.100.9", "198.51.100.9:4000"):
            self.assertEqual(ask(world(), "http://x.example/", source=source)["pool"], "other")

    def test_why_not(self) -> None:
        """Each server that is left out says why."""
        asked = world()
        asked.pool.maintain(asked.pool.server("a"))
        told = ask(asked, "http://x.example/")
        self.assertEqual(told["chosen"], "b")
        self.assertEqual(
            told["candidates"][0], {"server": "a", "usable": False, "why": "in maintenance"}
        )

    def test_refused(self) -> None:
        """A request that would be refused is told so."""
        told = ask(world(), "http://bad_host!/")
        self.assertEqual(told["answer"]["code"], 400)

    def test_nonsense(self) -> None:
        """Questions that cannot be read are refused with what was expected."""
        for question in (
            {"url": "nonsense"},
            {"url": "http://x/", "from": "nobody"},
            {"url": "http://x/\u00e9"},
        ):
            self.assertRaises(NotDone, world().balancer.explain, question)

    def test_changes_nothing(self) -> None:
        """Asking moves no turn and counts nothing."""
        asked = world()
        for _ in range(3):
            self.assertEqual(ask(asked, "http://x.example/")["chosen"], "a")
        self.assertEqual(sum(server.requests_total for server in asked.pool.servers), 0)

    @settings(deadline=None, database=None, max_examples=8)
    @given(
        st.sampled_from(("round-robin", "least-connections", "first", "source", "uri", "maglev")),
        st.lists(
            st.tuples(
                st.sampled_from(("shop.example", "x.example", "SHOP.example:80")),
                st.sampled_from(("/", "/cart/1", "/cart", "/p?q=1", "/q")),
                st.sampled_from(("192.0.2.1", "198.51.100.7", "2001:db8::7")),
            ),
            max_size=6,
        ),
    )
    def test_same_as_the_wire(self, algorithm: str, asked: list[tuple[str, str, str]]) -> None:
        """For any request the explanation names the server that then gets it."""
        here = world(algorithm)
        for host, path, source in asked:
            told = ask(here, f"http://{host}{path}", source=f"[{source}]:4000")
            here.client(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), source)
            pool = here.context.pools[told["pool"]]
            (chosen,) = [s for s in pool.servers if s.address == here.attempts[-1].address]
            self.assertEqual(chosen.name, told["chosen"])
        here.check()
