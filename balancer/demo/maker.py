"""
The maker of the kind `demo`. Light: the servers are imported when the first one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.demo.settings import SECTION
from balancer.interfaces import IBalancerMaker

if TYPE_CHECKING:
    from balancer.interfaces import IBalancer, IContext


@implementer(IPlugin, IBalancerMaker)
@frozen
class DemoMaker:
    """Makes the servers of `[demo NAME]` sections."""

    kind: str = "demo"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert server named `name`."""
        from balancer.demo.service import DemoServer

        return DemoServer(name, context)


maker = DemoMaker()
