"""
The maker of the kind `ecmp`. Light: the balancer itself is imported when one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.interfaces import IBalancerMaker
from balancer.route.settings import SECTION

if TYPE_CHECKING:
    from balancer.interfaces import IBalancer, IContext


@implementer(IPlugin, IBalancerMaker)
@frozen
class EcmpMaker:
    """Makes the balancers of `[ecmp NAME]` sections."""

    kind: str = "ecmp"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.route.service import Ecmp

        return Ecmp(name, context)


maker = EcmpMaker()
