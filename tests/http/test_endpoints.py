"""Where an http balancer is reached, for those who tell clients of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from balancer.http.settings import SECTION
from balancer.interfaces import HttpEndpoint, IEndpoints
from balancer.wire.address import literal
from tests.http.test_naming import subdomains
from tests.http.world import World, pool_of, settings_of

ROUTES = """pool = other
routes =
    host=a -> pool app
    host=b -> subdomains www
    host=c -> respond 200
"""


class EndpointsTests(SynchronousTestCase):
    """`IEndpoints` of a balancer on 127.0.0.1:80."""

    def setUp(self) -> None:
        self.world = World(
            ROUTES, pool_of("a"), pool_of("b", name="other"), others=subdomains
        )
        self.told = 0
        self.world.balancer.changed(self.tell)

    def tell(self) -> None:
        """They have changed."""
        self.told += 1

    def test_interface(self) -> None:
        """An http balancer tells where it is reached."""
        verifyObject(IEndpoints, self.world.balancer)

    def test_endpoints(self) -> None:
        """Each listener, what is spoken there, and all pools whose servers answer, once each."""
        self.assertEqual(
            self.world.balancer.endpoints(),
            (
                HttpEndpoint(
                    literal("127.0.0.1", 80), 80, False, ("http/1.1",), ("other", "app")
                ),
            ),
        )

    def test_changed(self) -> None:
        """A reload is told of if it changes them, and only as long as somebody wants to know."""
        self.world.configure(ROUTES)
        self.assertEqual(self.told, 0)
        self.world.configure("pool = app\n")
        self.assertEqual((self.told, self.world.balancer.endpoints()[0].pools), (1, ("app",)))
        for _ in range(2):
            self.world.balancer.unchanged(self.tell)
        self.world.configure(ROUTES)
        self.assertEqual(self.told, 1)

    def test_references(self) -> None:
        """The section names the subdomains that its routes lead to, and works through them."""
        found = [each for each in SECTION.references(settings_of(ROUTES)) if each.kind != "pool"]
        self.assertEqual(
            [(each.kind, each.name, each.index, each.through) for each in found],
            [("subdomains", "www", 1, True)],
        )
