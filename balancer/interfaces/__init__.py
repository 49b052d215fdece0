"""
The seams: what the site asks of a kind of balancer, of a check, and what it gives to them.

Third parties write against this package alone, and import its names from here: a kind is an
`IBalancerMaker` (`balancers`), a check an `ICheckMaker` (`checks`), each in a file of its own in a
`twisted/plugins` directory on `sys.path`. What the site lends to them is in `context`, what is told
in `telling`. Every `twistd` command imports all of it by way of the plugins: it stays light.
"""

from balancer.interfaces.balancers import (
    HttpEndpoint,
    IBalancer,
    IBalancerMaker,
    IEndpoints,
    IExplains,
    INamedServers,
    IPrepared,
    IPreparedFromFiles,
    IPreparesInSlices,
    IShowsCommands,
    IWithdraws,
    NoPrivilege,
    PlannedServer,
    PrepareError,
)
from balancer.interfaces.checks import CheckFailed, ICheck, ICheckMaker
from balancer.interfaces.context import IContext, ISections
from balancer.interfaces.files import BadFiles, Flaw, IReadsFiles
from balancer.interfaces.operator import IOperator, ISite, NotDone
from balancer.interfaces.telling import (
    Followed,
    Metric,
    Published,
    Sample,
    Snapshot,
)

__all__ = [
    "BadFiles",
    "CheckFailed",
    "Flaw",
    "Followed",
    "HttpEndpoint",
    "IBalancer",
    "IBalancerMaker",
    "ICheck",
    "ICheckMaker",
    "IContext",
    "IEndpoints",
    "IExplains",
    "INamedServers",
    "IOperator",
    "IPrepared",
    "IPreparedFromFiles",
    "IPreparesInSlices",
    "IReadsFiles",
    "ISections",
    "IShowsCommands",
    "ISite",
    "IWithdraws",
    "Metric",
    "NoPrivilege",
    "NotDone",
    "PlannedServer",
    "PrepareError",
    "Published",
    "Sample",
    "Snapshot",
]
