"""
The resolver's configuration: unbound, which asks the balancers about lab.test. Pure.

It tells them the network of its client (RFC 7871), so that nearness is the client's, not its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology import ANYCAST, BALANCER, Host, Lab

UNBOUND = """\
# The lab's resolver: knows nobody but the name servers of lab.test.
server:
  chroot: ""
  username: ""
  directory: "."
  pidfile: ""
  use-syslog: no
  logfile: "unbound.log"
  interface: {address}
  access-control: 10.0.0.0/8 allow
  do-ip6: no
  num-threads: 1
  module-config: "subnetcache iterator"
  local-zone: "test." nodefault
  # What is answered is kept for as long as its TTL says, and `no` for no longer.
  cache-max-negative-ttl: 1
  infra-host-ttl: 5
{subnets}\
remote-control:
  control-enable: no
"""

STUB = """\
stub-zone:
  name: "{zone}"
{servers}\
"""


def name_servers(lab: Lab) -> dict[str, tuple[str, ...]]:
    """Who serves which zone: the anycast address the one that all sites have, a site's balancers
    the one with its servers."""
    zones: dict[str, tuple[str, ...]] = {"lab.test": (ANYCAST,)}
    for site in lab.sites:
        hosts = lab.of_role(BALANCER, site.name)
        zones[f"{site.name}.lab.test"] = tuple(each.address for each in hosts)
    return zones


def unbound(lab: Lab, resolver: Host) -> str:
    """unbound.conf."""
    zones = name_servers(lab)
    known = {address for addresses in zones.values() for address in addresses}
    subnets = "".join(f"  send-client-subnet: {each}\n" for each in sorted(known))
    return UNBOUND.format(address=resolver.address, subnets=subnets) + "".join(_stubs(zones))


def _stubs(zones: dict[str, tuple[str, ...]]) -> Iterator[str]:
    for zone, addresses in zones.items():
        servers = "".join(f"  stub-addr: {address}\n" for address in addresses)
        yield STUB.format(zone=zone, servers=servers)
