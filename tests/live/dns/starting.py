"""
Live tests around name servers: each is started with the zones of this directory and ends with
the test.
"""

from __future__ import annotations

from pathlib import Path

from tests.live.dns.peers import MAKERS, Zones
from tests.live.harness import LiveTestCase, Process, free_port, need

HERE = Path(__file__).resolve().parent

ZONES: Zones = {"example.test": HERE / "example.test.zone",
                "circle.test": HERE / "circle.test.zone"}
"""What every name server serves; gdnsd refuses the second."""

PROGRAMS = {"gdnsd": "gdnsd", "knot": "knotd", "nsd": "nsd"}

SECONDARY = """\
server:
  rundir: $directory/knot
  listen: 127.0.0.1@$knot
log:
  - target: stderr
    any: info
database:
  storage: $directory/knot
key:
  - id: $name
    algorithm: hmac-sha256
    secret: $secret
remote:
  - id: ours
    address: 127.0.0.1@$dns
    $key
acl:
  - id: told
    address: 127.0.0.1
    action: notify
    $key
zone:
  - domain: example.test
    master: ours
    acl: told
    storage: $directory/knot
"""
"""knotd as a secondary of our example.test: `secret` is that of the key `name`, and `key` the line
that asks for it, or nothing."""


class NameServerTestCase(LiveTestCase):
    """Starts name servers by their names."""

    def serve(self, name: str, zones: Zones = ZONES, options: str = "", plugins: str = "",
              ) -> tuple[int, Process]:
        """`balancer`, `gdnsd`, `knot` or `nsd` on a free port, answering; the port."""
        port = free_port()
        directory = self.directory / f"{name}-{port}"
        directory.mkdir()
        if name == "gdnsd":
            zones = {zone: path for zone, path in zones.items() if zone != "circle.test"}
        command = MAKERS[name](directory, port, zones, options, plugins)
        if name == "balancer":
            process = self.twistd(directory / "site.ini", name=f"{name}-{port}")
            process.running(port)
        else:
            need(PROGRAMS[name])
            process = self.start(command, f"{name}-{port}")
            process.answering(port)
        return port, process
