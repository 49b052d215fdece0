"""
Authoritative name servers as processes: what starts each of them on one port of the loopback.

gdnsd, Knot DNS and NSD run without privileges, in the foreground, each in a directory of its own
and with one worker. Knows nothing of what they are asked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template

import dns.rdatatype
import dns.zone
from dns.name import Name

from tests.live.harness import LOOPBACK, TWISTD

LARGEST = 1232
"""Bytes of the largest answer over UDP, as the balancer and every peer is set up (RFC 9715)."""

GDNSD = """\
options => {
  listen => { $host:$port => { udp_threads => 1, tcp_threads => 1 } }
  run_dir => $directory/run
  state_dir => $directory/state
  max_edns_response => $largest
  zones_default_ttl => 3600
  min_ttl => 0
  nsid_ascii => peer
$options
}
$plugins
"""

KNOT = """\
server:
  rundir: $directory
  listen: $host@$port
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  udp-max-payload: $largest
  nsid: peer
  identity: none
$options
log:
  - target: stderr
    any: warning
database:
  storage: $directory
template:
  - id: default
    storage: $directory
    semantic-checks: soft
    zonefile-sync: -1
    journal-content: none
$plugins
zone:
$zones
"""

NSD = """\
server:
  ip-address: $host@$port
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "$directory"
  zonelistfile: "$directory/zone.list"
  xfrdfile: "$directory/xfrd.state"
  xfrdir: "$directory"
  pidfile: "$directory/nsd.pid"
  database: ""
  ipv4-edns-size: $largest
  minimal-responses: yes
  refuse-any: no
  rrl-ratelimit: 0
  nsid: "ascii_peer"
  hide-version: yes
$options
remote-control:
  control-enable: no
$zones
"""

BALANCER = """\
[site]
name = peer
admin = off
control = $directory/lb.sock
state = $directory
$options
$zones
$plugins
"""

GDNSD_KNOWS = frozenset(map(dns.rdatatype.from_text, (
    "SOA", "A", "AAAA", "NS", "PTR", "CNAME", "MX", "SRV", "TXT", "NAPTR", "CAA")))
"""The types that gdnsd 3.8 wants written by name; all others it wants in RFC 3597's form."""

_NEWER = re.compile(r"\b(?:SVCB|HTTPS|TYPE\d+)\b")

Zones = Mapping[str, Path]
"""Zone files by the zone's name, such as `example.test`."""

Maker = Callable[[Path, int, Zones, str, str], list[str]]
"""
What makes a peer's configuration in a directory and gives the command that starts it on a port:
`make(directory, port, zones, options, plugins)`. The last two are text in the peer's own language.
"""


def gdnsd(directory: Path, port: int, zones: Zones, options: str = "", plugins: str = "",
          ) -> list[str]:
    """gdnsd; `plugins` is the rest of its config, which may name what DYNA records refer to."""
    for name in ("zones", "run", "state"):
        (directory / name).mkdir(exist_ok=True)
    for name, path in zones.items():
        (directory / "zones" / name).write_text(path.read_text() if plain(path)
                                                else generic(path, name))
    _fill(directory / "config", GDNSD, port, options=options, plugins=plugins)
    return ["gdnsd", "-c", str(directory), "start"]


def knot(directory: Path, port: int, zones: Zones, options: str = "", plugins: str = "",
         ) -> list[str]:
    """knotd; `options` go into `server:`, `plugins` stands before the zones."""
    listed = "\n".join(f"  - domain: {name}\n    file: {path}" for name, path in zones.items())
    config = _fill(directory / "knot.conf", KNOT, port, zones=listed, options=options,
                   plugins=plugins)
    return ["knotd", "-c", str(config)]


def nsd(directory: Path, port: int, zones: Zones, options: str = "", plugins: str = "",
        ) -> list[str]:
    """nsd; `options` go into `server:`, `plugins` are further clauses."""
    listed = "\n".join(f'zone:\n  name: "{name}"\n  zonefile: "{path}"'
                       for name, path in zones.items())
    config = _fill(directory / "nsd.conf", NSD, port, zones=f"{listed}\n{plugins}",
                   options=options)
    return ["nsd", "-d", "-c", str(config)]


def balancer(directory: Path, port: int, zones: Zones, options: str = "", plugins: str = "",
             ) -> list[str]:
    """Ours; `options` go into every [dns] section, `plugins` are further sections."""
    listed = "\n".join(f"[dns {name}]\nlisten = {LOOPBACK}:{port}\nzone = {path}\n{options}\n"
                       for name, path in zones.items())
    config = _fill(directory / "site.ini", BALANCER, port, zones=listed, options="",
                   plugins=plugins)
    return [sys.executable, str(TWISTD), "--pidfile=", "-n", "lb", "--config", str(config)]


MAKERS: Mapping[str, Maker] = {"balancer": balancer, "gdnsd": gdnsd, "knot": knot, "nsd": nsd}
"""Every name server by its name in tables."""


def _fill(path: Path, template: str, port: int, **values: str) -> Path:
    path.write_text(Template(template).substitute(
        values, directory=path.parent, host=LOOPBACK, port=port, largest=LARGEST))
    return path


def plain(path: Path) -> bool:
    """Whether gdnsd reads the zone file as it is: it has none of the types that need another
    form."""
    return not _NEWER.search(path.read_text())


def generic(path: Path, zone: str) -> str:
    """
    The zone file's records with the types that gdnsd does not know in RFC 3597's form.

    Records without any data are left out: gdnsd 3.8.1 ends itself when it reads one.
    """
    read = dns.zone.from_file(str(path), origin=zone, relativize=False)
    return "".join(_lines(name, node.rdatasets) for name, node in sorted(read.items()))


def _lines(name: Name, rdatasets: Sequence[dns.rdataset.Rdataset]) -> str:
    lines = []
    for rdataset in rdatasets:
        kind = dns.rdatatype.to_text(rdataset.rdtype)
        for rdata in rdataset:
            text = rdata.to_text()
            if rdataset.rdtype not in GDNSD_KNOWS:
                wire = rdata.to_wire() or b""
                if not wire:
                    continue
                kind, text = f"TYPE{int(rdataset.rdtype)}", f"\\# {len(wire)} {wire.hex()}"
            lines.append(f"{name} {rdataset.ttl} {kind} {text}\n")
    return "".join(lines)
