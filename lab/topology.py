"""
The lab's machines and networks as data: who there is, where, and with which address. Pure.

Each network is a switch in its router, and one /24; a host has one link, `eth0`, to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

CLIENT, ROUTER, BALANCER, SERVER, RESOLVER = "client", "router", "balancer", "server", "resolver"

ANYCAST: Final = "192.0.2.1"
"""The address that both sites announce and serve."""


@frozen
class Network:
    """A /24 behind a router, whose address ends in 1."""

    name: str
    router: str
    begin: str
    """The first three numbers of its addresses: `10.1.0`."""

    def address(self, last: int) -> str:
        """One of its addresses."""
        return f"{self.begin}.{last}"

    @property
    def prefix(self) -> str:
        """All of it."""
        return f"{self.begin}.0/24"

    @property
    def gateway(self) -> str:
        """Its router's address."""
        return self.address(1)


@frozen
class Host:
    """A machine with one link: `address` is its own, `carries` are others that it answers to."""

    name: str
    role: str
    network: str
    address: str
    carries: tuple[str, ...] = ()


@frozen
class Site:
    """Balancers and servers in one network. `service` is a prefix that its servers carry, and that
    its balancers send to them."""

    name: str
    asn: int
    service: str


@frozen
class Router:
    """A machine that joins networks; `core` is its address on the link between the two."""

    name: str
    asn: int
    core: str


@frozen
class Lab:
    """All of it."""

    routers: tuple[Router, ...]
    networks: tuple[Network, ...]
    sites: tuple[Site, ...]
    hosts: tuple[Host, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every machine: routers first."""
        return (*(each.name for each in self.routers), *(each.name for each in self.hosts))

    def host(self, name: str) -> Host:
        """The host of that name. KeyError: there is none."""
        return {each.name: each for each in self.hosts}[name]

    def network(self, name: str) -> Network:
        """The network of that name. KeyError: there is none."""
        return {each.name: each for each in self.networks}[name]

    def of_role(self, role: str, network: str = "") -> Iterator[Host]:
        """The hosts that do this, in one network or in all."""
        for host in self.hosts:
            if host.role == role and network in ("", host.network):
                yield host

    def behind(self, router: str) -> Iterator[Network]:
        """A router's networks."""
        return (each for each in self.networks if each.router == router)

    def site(self, name: str) -> Site:
        """The site of that name. KeyError: there is none."""
        return {each.name: each for each in self.sites}[name]


def _hosts_of(site: Site, network: Network) -> Iterator[Host]:
    for number in (1, 2):
        name = f"{site.name}{number}"
        yield Host(name, BALANCER, network.name, network.address(number + 1))
    for number, letter in enumerate("abc", 11):
        address = network.address(number)
        yield Host(f"{site.name}-{letter}", SERVER, network.name, address, (site.service,))


def small_internet() -> Lab:
    """The lab as it is made: two sites, two routers, clients in three places."""
    networks = (
        Network("east", "r1", "10.1.0"),
        Network("ann", "r1", "10.11.0"),
        Network("west", "r2", "10.2.0"),
        Network("bob", "r2", "10.12.0"),
        Network("north", "r2", "10.13.0"),
    )
    sites = (Site("east", 65001, "198.51.100.0/25"), Site("west", 65002, "198.51.100.128/25"))
    by_name = {each.name: each for each in networks}
    hosts = [
        Host("ann", CLIENT, "ann", "10.11.0.10"),
        Host("bob", CLIENT, "bob", "10.12.0.10"),
        Host("cyd", CLIENT, "north", "10.13.0.10"),
        Host("dns", RESOLVER, "north", "10.13.0.53"),
    ]
    for site in sites:
        hosts += _hosts_of(site, by_name[site.name])
    routers = (Router("r1", 64501, "10.0.0.1"), Router("r2", 64502, "10.0.0.2"))
    return Lab(routers, networks, sites, tuple(hosts))


MAP: Final = """\
   ann 10.11.0.10                                     bob 10.12.0.10
       |                                                  |     cyd 10.13.0.10
       |                                                  |      |  dns 10.13.0.53
   +---+--------------+       10.0.0.0/24       +---------+------+---+
   | r1      AS 64501 +-------------------------+ r2        AS 64502 |
   +---+--------------+                         +---------+----------+
       | east 10.1.0.0/24  AS 65001                       | west 10.2.0.0/24  AS 65002
       +-- east1  .2   } balancers                        +-- west1  .2   } balancers
       +-- east2  .3   }                                  +-- west2  .3   }
       +-- east-a .11  }                                  +-- west-a .11  }
       +-- east-b .12  } servers                          +-- west-b .12  } servers
       +-- east-c .13  }                                  +-- west-c .13  }

   192.0.2.1          both sites: HTTP on 80, TCP and UDP on 8080, DNS on 53
   198.51.100.0/25    east's servers, 198.51.100.128/25 west's: ECMP in the balancers' kernels
   www.lab.test       DNS sends clients to the near site; east.lab.test, west.lab.test: its servers
"""
"""What is where, for those who look at it."""
