"""
The name servers to compare: the same zone, one worker on one core, and, where a server can,
answers by the client's place from the same database.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from string import Template

from tests.bench.peers import PROXY_CORE, Peer
from tests.live.dns.mmdb import city, database
from tests.live.dns.peers import MAKERS, Zones
from tests.live.harness import ROOT, Process, free_port

ZONE = "example.test"
NEAR = "near"
"""The name whose answer depends on where the client is."""

STATIC = """\
$ORIGIN example.test.
$TTL 3600
@       SOA     ns1 hostmaster 1 7200 3600 1209600 300
@       NS      ns1
@       NS      ns2
ns1     A       192.0.2.53
ns2     A       192.0.2.54
www     A       192.0.2.11
www     A       192.0.2.12
mail    A       192.0.2.25
*.wild  A       192.0.2.70
"""

PLACES = (("virginia", 38.9, -77.5, "192.0.2.101"), ("frankfurt", 50.1, 8.7, "192.0.2.102"),
          ("singapore", 1.35, 103.8, "192.0.2.103"), ("saopaulo", -23.5, -46.6, "192.0.2.104"))
"""Where servers are: name, latitude, longitude, address."""

COUNTRIES = (("US", "NA", 40.0, -98.0), ("CA", "NA", 56.0, -106.0), ("BR", "SA", -10.0, -52.0),
             ("AR", "SA", -34.0, -64.0), ("DE", "EU", 51.0, 9.0), ("FR", "EU", 46.0, 2.0),
             ("PL", "EU", 52.0, 20.0), ("JP", "AS", 36.0, 138.0), ("IN", "AS", 20.0, 77.0),
             ("AU", "OC", -25.0, 133.0), ("ZA", "AF", -29.0, 24.0), ("EG", "AF", 27.0, 30.0))

GDNSD_GEO = """\
plugins => { geoip => {
  maps => { world => {
    geoip2_db => $mmdb
    datacenters => [$names]
    auto_dc_coords => { $places }
  }}
  resources => { near => { map => world, service_types => up, dcmap => { $addresses } } }
}}
"""

BALANCER_GEO = """\
[pool near]
servers =
    $servers
check = none

$places
"""


def world() -> bytes:
    """A database in which the countries take turns at the /16 networks of 1.0.0.0 to 99.0.0.0."""
    countries = [city(*country) for country in COUNTRIES]
    return database((IPv4Network((first << 24 | second << 16, 16)),
                     countries[(first * 7 + second) % len(countries)])
                    for first in range(1, 100) for second in range(256))


class NameServers:
    """Starts the name servers, all in one directory, and ends them."""

    def __init__(self, directory: Path, zones: Zones | None = None) -> None:
        self.directory = directory
        self._started: list[Process] = []
        self._mmdb = directory / "world.mmdb"
        self._zone = directory / "example.test.zone"
        self._zones = zones or {ZONE: self._zone}

    def origin(self) -> None:
        """Write what they all serve."""
        self._zone.write_text(STATIC)
        self._mmdb.write_bytes(world())

    def _fill(self, template: str) -> str:
        separated = ", ".join
        return Template(template).substitute(
            mmdb=self._mmdb, names=separated(place[0] for place in PLACES),
            places=separated(f"{name} => [{north}, {east}]" for name, north, east, _ in PLACES)
            if "dcmap" in template else "\n".join(
                f"[place {name}]\nlocation = {north},{east}\n" for name, north, east, _ in PLACES),
            addresses=separated(f"{place[0]} => {place[3]}" for place in PLACES),
            servers="\n    ".join(f"{name} {address}:80 place={name}"
                                  for name, _, _, address in PLACES))

    def start(self, name: str, *options: str, geo: bool = True) -> Peer:
        """One of `gdnsd`, `knot`, `nsd`, `balancer`, on a port. `options` are twistd's own."""
        directory = self.directory / name
        directory.mkdir()
        port = free_port()
        extra = {"gdnsd": ("", GDNSD_GEO), "balancer": (
            f"answers = {NEAR} pool=near policy=geo ttl=300s", BALANCER_GEO)}
        its_options, template = extra.get(name, ("", "")) if geo else ("", "")
        command = MAKERS[name](directory, port, self._zones, its_options, self._fill(template))
        if name == "balancer" and options:
            at = command.index("lb")
            command = [*command[:at], *options, *command[at:]]
        if name == "balancer" and geo:
            site = directory / "site.ini"
            site.write_text(site.read_text().replace("[site]\n", f"[site]\ngeo = {self._mmdb}\n"))
        if name == "gdnsd" and geo:
            with (directory / "zones" / ZONE).open("a") as zone:
                zone.write(f"{NEAR}.{ZONE}. 300 DYNA geoip!near\n")
        process = self.run(name, command)
        process.answering(port, within=120)
        return Peer(name, process, directory, 0, 0, 0, port)

    def run(self, name: str, command: Sequence[str]) -> Process:
        """A command on the proxies' core."""
        process = Process(["taskset", "-c", PROXY_CORE, *command], self.directory / f"{name}.log",
                          self.directory, {"PYTHONPATH": str(ROOT)})
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill all that was started."""
        for process in reversed(self._started):
            if process.status is None:
                process.signal(signal.SIGKILL)
            process.kill()
        self._started.clear()


if __name__ == "__main__":
    sys.stdout.buffer.write(world())
