"""
Pages of docs/, walked from top to bottom: their site files put in force one after the other, their
files written, their commands run, and what these print held against the page.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import ClassVar

from prometheus_client.parser import text_string_to_metric_families

from tests.live.dns.mmdb import city, database
from tests.live.harness import LiveTestCase, Process, ask, need, wait_until
from tests.live.namespaces import ip, network
from tests.pages import ROOT, Command, SiteFile, Text, pieces
from tests.wire.certificates import DAY, NOW, Authority

CLIENTS = ip_network("203.0.113.0/24"), city("JP", "AS", 36.0, 138.0)
"""Where the page says that its client is."""

FILES = {"$TTL": "example.zone", "key ": "keys"}
"""What the blocks that begin so are called in the page's site files."""

COMMANDS = {"lbctl": "balancer.lbctl", "balancer-setup": "balancer.setup.command"}
"""What is typed on a page, and what it runs."""

WITHIN = 5.0
"""Seconds until a command prints what the page says: checks, verdicts and logs take their time."""


class PageTestCase(LiveTestCase):
    """A page's addresses in a network of its own, and the servers of its pools."""

    page: ClassVar[Path]
    addresses: ClassVar[tuple[str, ...]]
    servers: ClassVar[Mapping[str, str]]

    def setUp(self) -> None:
        """Write the page's files and start the servers."""
        super().setUp()
        need("dig", "curl")
        self.enterContext(network())
        for address in (*self.addresses, *self.servers.values()):
            ip("address", "add", f"{address}/32", "dev", "lo")
        self.pieces = list(pieces(self.page.read_text()))
        for piece in self.pieces:
            for start, name in FILES.items():
                if isinstance(piece, Text) and piece.text.startswith(start):
                    (self.directory / name).write_text(piece.text)
        for command, module in COMMANDS.items():
            script = self.directory / command
            python = f"PYTHONPATH={ROOT} exec {sys.executable}"
            script.write_text(f'#!/bin/sh\n{python} -m {module} "$@"\n')
            script.chmod(0o755)
        demo = "".join(f"[demo {name}]\nhttp = {at}:80\n" for name, at in self.servers.items())
        path = self.site_file(f"[site]\nadmin = off\ncontrol = off\nstate = demo\n{demo}")
        self.twistd(path.rename(self.directory / "servers.ini"), name="servers").running()

    def run_command(self, typed: str) -> str:
        """What it prints, on both streams."""
        done = subprocess.run(
            ["sh", "-c", typed], capture_output=True, text=True, timeout=20, check=False,
            cwd=self.directory,
            env={**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})
        return done.stdout + done.stderr

    def prints(self, command: Command) -> None:
        """It prints what the page says, within some seconds."""
        began = time.monotonic()
        while not command.is_printed(output := self.run_command(command.typed)):
            wanted = "\n".join(command.printed)
            self.assertLess(time.monotonic() - began, WITHIN,
                            f"$ {command.typed}\n{output}\nthe page says:\n{wanted}")
            time.sleep(0.1)

    def put_in_force(self, text: str) -> None:
        """Start with this site file, or reload it."""
        site = self.directory / "site.ini"
        is_first = not site.exists()
        site.write_text(text)
        if is_first:
            self.twistd(site).running()
        else:
            self.assertIn("reloaded: ", self.run_command("lbctl reload"))

    def walk(self) -> None:
        """Everything on the page happens as it says."""
        for piece in self.pieces:
            if isinstance(piece, SiteFile):
                self.put_in_force(piece.text)
            elif isinstance(piece, Command):
                self.prints(piece)


class DnsPageTests(PageTestCase):
    """docs/dns.md."""

    page = ROOT / "docs" / "dns.md"
    addresses = ("192.0.2.53", "192.0.2.80")
    servers: ClassVar = {"a": "192.0.2.11", "b": "192.0.2.12", "c": "198.51.100.21"}

    def test_page(self) -> None:
        """Everything on the page happens as it says, and it names every metric of DNS."""
        (self.directory / "city.mmdb").write_bytes(database([CLIENTS]))
        Authority().issue("www.example.org").save(self.directory / "www.pem")
        self.walk()
        text = ask("curl", "-s", "http://127.0.0.1:9180/metrics")
        names = {family.name.removeprefix("balancer_dns_")
                 for family in text_string_to_metric_families(text)
                 if family.name.startswith("balancer_dns_")}
        self.assertIn("answers", names)
        page = self.page.read_text()
        self.assertEqual([], [each for each in names if f"`{each}" not in page])


class SubdomainsPageTests(PageTestCase):
    """docs/subdomains.md."""

    page = ROOT / "docs" / "subdomains.md"
    addresses = ("192.0.2.10", "192.0.2.53")
    servers: ClassVar = {"a": "192.0.2.1", "b": "192.0.2.2"}

    def test_page(self) -> None:
        """Everything on the page happens as it says."""
        self.walk()


class OperatePageTests(PageTestCase):
    """docs/operate.md: its runbook."""

    page = ROOT / "docs" / "operate.md"
    addresses = ("192.0.2.80",)
    servers: ClassVar = {"a": "192.0.2.11", "b": "192.0.2.12", "c": "192.0.2.13"}

    def test_page(self) -> None:
        """Everything on the page happens as it says, and the last command ends the balancer."""
        need("jq", "openssl", "sed", "install")
        authority = Authority()
        for file, days in (("www.pem", 20), ("renewed.pem", 90)):
            made = authority.issue("www.example.org", expires=NOW + days * DAY)
            made.save(self.directory / file)
        self.walk()
        wait_until("the balancer is gone", lambda: not (self.directory / "balancer.pid").exists())


class SecurityPageTests(PageTestCase):
    """docs/security.md."""

    page = ROOT / "docs" / "security.md"
    addresses = ("192.0.2.80",)
    servers: ClassVar = {"a": "192.0.2.11"}

    def test_page(self) -> None:
        """Everything on the page happens as it says."""
        need("nc")
        self.walk()


class ExtendPageTests(PageTestCase):
    """docs/extend.md: its code is loaded as a third party's, from a directory of theirs."""

    page = ROOT / "docs" / "extend.md"
    addresses = ("192.0.2.80",)
    servers: ClassVar = {"a": "192.0.2.11", "b": "192.0.2.12", "c": "192.0.2.13"}

    def setUp(self) -> None:
        """Install what the page shows, and start a server that answers PING."""
        super().setUp()
        need("nc")
        self.theirs = self.directory / "theirs"
        files = [(re.match(r"# (\S+\.py)\n", piece.text), piece.text)
                 for piece in self.pieces if isinstance(piece, Text)]
        self.sources = {found[1]: text for found, text in files if found is not None}
        for name, text in self.sources.items():
            (self.theirs / name).parent.mkdir(parents=True, exist_ok=True)
            (self.theirs / name).write_text(text)
        redis = socket.create_server(("127.0.0.1", 6379))
        self.addCleanup(redis.close)
        threading.Thread(target=answer_ping, args=(redis,), daemon=True).start()

    def twistd(self, site: Path, *options: str, foreground: bool = True, name: str = "balancer",
               wrap: Sequence[str] = ()) -> Process:
        """The balancer finds what the page shows as it finds what is installed."""
        if name == "balancer":
            wrap = ("env", f"PYTHONPATH={ROOT}{os.pathsep}{self.theirs}")
        return super().twistd(site, *options, foreground=foreground, name=name, wrap=wrap)

    def test_page(self) -> None:
        """Everything on the page happens as it says, and no example is long."""
        self.assertEqual({"twisted/plugins/ours.py", "greeter.py", "ping.py", "reserve.py"},
                         set(self.sources))
        for name, text in self.sources.items():
            lines = [line for line in text.splitlines()
                     if line and not line.startswith(("#", "from ", "import "))]
            self.assertLessEqual(len(lines), 36, name)
        self.walk()


def answer_ping(listener: socket.socket) -> None:
    """Redis, as far as PING goes, until the listener is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if connection.recv(100) == b"PING\r\n":
                connection.send(b"+PONG\r\n")
