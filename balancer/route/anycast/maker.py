"""
The maker of the kind `anycast`. Light: the balancer itself is imported when one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.interfaces import IReadsFiles
from balancer.route.anycast.settings import SECTION

if TYPE_CHECKING:
    from balancer.interfaces import Flaw, IBalancer, IContext, ISections


@implementer(IPlugin, IReadsFiles)
@frozen
class AnycastMaker:
    """Makes the balancers of `[anycast NAME]` sections."""

    kind: str = "anycast"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.route.anycast.service import Anycast

        return Anycast(name, context)

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """See `IReadsFiles`: the passwords of sessions."""
        from balancer.route.anycast.secrets import flaws

        return flaws(sections)


maker = AnycastMaker()
