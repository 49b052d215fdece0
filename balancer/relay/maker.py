"""
The makers of the kinds `tcp` and `udp`. Light: the balancers are imported when one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.interfaces import IBalancerMaker, IReadsFiles
from balancer.relay.settings import TCP, UDP

if TYPE_CHECKING:
    from balancer.interfaces import Flaw, IBalancer, IContext, ISections


@implementer(IPlugin, IReadsFiles)
@frozen
class TcpMaker:
    """Makes the balancers of `[tcp NAME]` sections."""

    kind: str = "tcp"
    section: Section = TCP

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.relay.tcp.service import TcpBalancer

        return TcpBalancer(name, context)

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """See `IReadsFiles`: the certificates."""
        from balancer.relay.tcp.service import flaws

        return flaws(sections)


@implementer(IPlugin, IBalancerMaker)
@frozen
class UdpMaker:
    """Makes the balancers of `[udp NAME]` sections."""

    kind: str = "udp"
    section: Section = UDP

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.relay.udp.service import OF_THE_PROCESS, UdpBalancer

        return UdpBalancer(name, context, places=OF_THE_PROCESS)


tcp = TcpMaker()
udp = UdpMaker()
