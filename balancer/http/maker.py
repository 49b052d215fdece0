"""
The maker of the kind `http`. Light: the balancer itself is imported when the first one is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.config.schema import Section
from balancer.http.settings import SECTION
from balancer.interfaces import IReadsFiles

if TYPE_CHECKING:
    from balancer.interfaces import Flaw, IBalancer, IContext, ISections


@implementer(IPlugin, IReadsFiles)
@frozen
class HttpMaker:
    """Makes the balancers of `[http NAME]` sections."""

    kind: str = "http"
    section: Section = SECTION

    def make(self, name: str, context: IContext) -> IBalancer:
        """An inert balancer named `name`."""
        from balancer.http.service import HttpBalancer

        return HttpBalancer(name, context)

    def reading(self, sections: Mapping[str, Any], around: ISections) -> Iterator[Flaw | None]:
        """See `IReadsFiles`."""
        from balancer.http.files import reading

        return reading(sections)


maker = HttpMaker()
