"""
The maker of the kind `dns`, and the sections that it reads. Light: the balancer is imported when
one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.dns.geo.settings import PLACE
from balancer.dns.settings import DNS
from balancer.interfaces import IBalancerMaker, IReadsFiles

if TYPE_CHECKING:
    from balancer.interfaces import Flaw, IBalancer, IContext, ISections


@implementer(IPlugin, IReadsFiles)
@frozen
class DnsMaker:
    """Makes the balancers of `[dns ZONE]` sections."""

    kind: str = "dns"
    section: Section = DNS

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer of the zone `name`."""
        from balancer.dns.service import DnsBalancer

        return DnsBalancer(name, context)

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """See `IReadsFiles`: zones, keys, secrets of cookies, and the database of places."""
        from balancer.dns.files import reading

        return reading(sections, around)


@implementer(IPlugin, IBalancerMaker)
@frozen
class PlaceMaker:
    """Declares `[place NAME]` sections, of which no balancer is made."""

    kind: str = "place"
    section: Section = PLACE

    def make(self, name: str, context: IContext) -> IBalancer:
        """Never called: the section is inert."""
        raise AssertionError(f"[place {name}] is no balancer")


dns = DnsMaker()
place = PlaceMaker()
