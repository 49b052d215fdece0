"""
Knot DNS as a secondary that is told of every change, be it a server that goes down or another file.
"""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from string import Template
from threading import Thread
from typing import Any

import dns.message

from tests.live.dns.asking import Asker
from tests.live.dns.pools import ADDRESSES, PROMISE, SITE, PoolsTestCase, address
from tests.live.dns.starting import SECONDARY, NameServerTestCase
from tests.live.harness import LOOPBACK, Process, free_port, need, wait_until

SECRET = "c2VjcmV0IG9mIGEgcHJpbWFyeSBhbmQgYSBzZWNvbmRhcnk="
OTHER = "c29tZXRoaW5nIHRoYXQgbm9ib2R5IGhhcyBhZ3JlZWQ="

SECTION = """
transfer = 127.0.0.0/8 $key
notify = 127.0.0.1:$knot $key
$file
"""

COALESCED = 1.0
"""Seconds between two serials."""

TRANSFERRED = 0.5
"""Seconds for a NOTIFY, a query for the SOA and a transfer over the loopback."""


class SecondaryTestCase(PoolsTestCase):
    """A secondary of a zone whose names follow pools."""

    key = ""
    secret = SECRET

    def setUp(self) -> None:
        """Start the servers, the balancer, and knot."""
        need("knotd")
        self.knot, self.admin = free_port(), free_port()
        super().setUp()
        self.secondary = self.start_secondary()
        self.reader = self.enterContext(Asker(self.knot))

    def start_balancer(self, timeout: str = "200ms", name: str = "balancer") -> Process:
        """The balancer, which lets knot have the zone."""
        (self.directory / "keys").write_text(
            f'key "k" {{ algorithm hmac-sha256; secret "{self.secret}"; }};')
        file = "tsig-file = $directory/keys" if self.key else ""
        text = SITE.replace("[site]\nadmin = off", f"[site]\nadmin = 127.0.0.1:{self.admin}")
        path = self.site_file(
            text + Template(SECTION).substitute(key=self.key, knot=self.knot, file=file),
            directory=self.directory, port=self.port, dns=self.dns, timeout=timeout)
        process = self.twistd(path, name=name)
        process.running(self.dns)
        return process

    def start_secondary(self) -> Process:
        """knotd, answering."""
        directory = self.directory / "knot"
        directory.mkdir()
        config = self.directory / "knot.conf"
        config.write_text(Template(SECONDARY).substitute(
            directory=self.directory, knot=self.knot, dns=self.dns,
            name="k", secret=SECRET, key="key: k" if self.key else ""))
        process = self.start(["knotd", "-c", str(config)], "knot")
        process.answering(self.knot)
        return process

    def copied(self, name: str = "all") -> set[str]:
        """The addresses that knot has of a name."""
        query = dns.message.make_query(f"{name}.example.test.", "A")
        wire = self.reader.udp(query.to_wire())
        return set(address(dns.message.from_wire(wire))) if wire is not None else set()

    def serial(self, asker: Asker) -> int:
        """The serial there; 0 if there is no zone."""
        wire = asker.udp(dns.message.make_query("example.test.", "SOA").to_wire())
        assert wire is not None
        answer = dns.message.from_wire(wire).answer
        return int(answer[0][0].serial) if answer else 0

    def follows(self, *servers: str, within: float = 10.0) -> float:
        """Wait until knot has these servers' addresses; how long that took."""
        wanted = {ADDRESSES[each] for each in servers}
        return wait_until(f"knot has {servers}\n{self.secondary.output}",
                          lambda: self.copied() == wanted, within)

    def told(self) -> dict[str, Any]:
        """What `/api/status` says of the secondary."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/api/status") as answer:
            status = json.load(answer)
        (secondary,) = status["balancers"]["dns:example.test"]["notify"]
        return dict(secondary)

    def acknowledged(self) -> bool:
        """Whether the secondary has acknowledged the serial that is served."""
        told = self.told()
        return bool(told["acknowledged"]) and told["serial"] == self.serial(self.asker)


class PlainTests(SecondaryTestCase):
    """Without a key."""

    def test_down_and_up(self) -> None:
        """A server that fails is out of the secondary's copy within the promise and a second, and
        back as soon when it works again."""
        self.follows("a", "b", "c")
        for turn in (self.down, self.up):
            time.sleep(COALESCED)
            began = time.monotonic()
            turn("b")
            self.follows(*("ac" if turn == self.down else "abc"))
            self.assertLess(time.monotonic() - began, PROMISE + TRANSFERRED)
        wait_until("the status says so", self.acknowledged)

    def test_restart(self) -> None:
        """The serial stays over a restart, and grows by what changed while nobody served."""
        self.follows("a", "b", "c")
        self.down("b")
        self.follows("a", "c")
        before = self.serial(self.asker)
        self.assertEqual(0, self.process.stop())
        self.process = self.start_balancer(name="again")
        self.becomes("a", "c")
        self.assertEqual(before, self.serial(self.asker))
        wait_until("the secondary is told at the start", self.acknowledged)
        self.assertEqual(0, self.process.stop())
        self.up("b")
        self.process = self.start_balancer(name="once more")
        self.follows("a", "b", "c")
        self.assertGreater(self.serial(self.asker), before)
        self.assertEqual(self.serial(self.asker), self.serial(self.reader))


class SignedTests(SecondaryTestCase):
    """With a key."""

    key = "key=k"

    def test_down_and_up(self) -> None:
        """What is signed with the key is believed by both."""
        self.follows("a", "b", "c")
        self.down("b")
        self.follows("a", "c", within=PROMISE + COALESCED + TRANSFERRED)
        wait_until("the status says so", self.acknowledged)


class WrongKeyTests(SecondaryTestCase):
    """With a key of which the secondary has another secret."""

    key = "key=k"
    secret = OTHER

    def test_refused(self) -> None:
        """The secondary believes nothing, and the status says why."""
        wait_until("the status says so", lambda: "BADSIG" in (self.told()["error"] or ""))
        self.assertEqual(set(), self.copied())
        self.assertEqual((False, 0), (self.told()["acknowledged"], self.serial(self.reader)))


RECORDS = 60_000
READERS = 8

LARGE = """\
[site]
admin = off
control = $directory/lb.sock
state = $directory/state

[dns large.test]
listen = 127.0.0.1:$dns
zone = $directory/large.zone
transfer = 127.0.0.0/8
"""

MOST_MORE = 2048
"""KiB by which the process may grow: 64 for each reader, and what one message takes."""


class LargeTests(NameServerTestCase):
    """A zone of many records, and readers that are slow or many."""

    def test_many_readers(self) -> None:
        """While readers take the zone, some of them slowly, queries are answered, no turn of the
        reactor is long, and hardly any memory is taken."""
        self.port = free_port()
        names = "".join(f"name{number} A 192.0.2.1\n" for number in range(RECORDS))
        (self.directory / "large.zone").write_text("$TTL 300\n@ SOA ns a 1 2h 30m 2w 1m\n NS ns\n"
                                                   f"ns A 192.0.2.1\n{names}")
        process = self.balancer(LARGE, self.port, directory=self.directory, dns=self.port)
        self.read(0.0)
        before = self.memory(process)
        counts: list[int] = []
        readers = [Thread(target=lambda each=each: counts.append(self.read(0.002 * (each % 2))))
                   for each in range(READERS)]
        for reader in readers:
            reader.start()
        most, query = before, dns.message.make_query("name7.large.test.", "A").to_wire()
        answered = 0
        with Asker(self.port) as asker:
            while any(reader.is_alive() for reader in readers):
                answered += asker.udp(query) is not None
                most = max(most, self.memory(process))
                time.sleep(0.01)
        self.assertEqual([RECORDS + 4] * READERS, counts)
        self.assertGreater(answered, 20)
        self.assertLess(most - before, MOST_MORE)
        self.assertNotIn("reactor turn took", process.output)

    def memory(self, process: Process) -> int:
        """KiB that it has."""
        with open(f"/proc/{process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def read(self, wait: float) -> int:
        """Transfer the zone, waiting after each piece; how many records came."""
        query = dns.message.make_query("large.test.", "AXFR").to_wire()
        count, buffer = 0, b""
        with socket.create_connection((LOOPBACK, self.port), timeout=30) as connection:
            connection.sendall(len(query).to_bytes(2, "big") + query)
            while count < RECORDS + 4:
                piece = connection.recv(16384)
                if not piece:
                    return count
                buffer += piece
                while len(buffer) > 2 and len(buffer) >= 2 + int.from_bytes(buffer[:2], "big"):
                    size = int.from_bytes(buffer[:2], "big")
                    count += int.from_bytes(buffer[8:10], "big")
                    buffer = buffer[2 + size :]
                time.sleep(wait)
        return count
