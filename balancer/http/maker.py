"""
The maker of the kind `http`. Light: the balancer itself is imported when the first one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.http.settings import SECTION
from balancer.interfaces import IBalancerMaker

if TYPE_CHECKING:
    from balancer.interfaces import IBalancer, IContext


@implementer(IPlugin, IBalancerMaker)
@frozen
class HttpMaker:
    """Makes the balancers of `[http NAME]` sections."""

    kind: str = "http"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.http.service import HttpBalancer

        return HttpBalancer(name, context)


maker = HttpMaker()
