"""
The maker of the kind `anycast`. Light: the balancer itself is imported when one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.interfaces import IBalancerMaker
from balancer.route.anycast.settings import SECTION

if TYPE_CHECKING:
    from balancer.interfaces import IBalancer, IContext


@implementer(IPlugin, IBalancerMaker)
@frozen
class AnycastMaker:
    """Makes the balancers of `[anycast NAME]` sections."""

    kind: str = "anycast"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.route.anycast.service import Anycast

        return Anycast(name, context)


maker = AnycastMaker()
