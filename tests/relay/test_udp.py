"""
Relayed datagrams, one by one, in a world without a kernel.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import read
from balancer.interfaces import PrepareError
from balancer.limit.rates import Rates
from balancer.pool.events import Moved
from balancer.pool.settings import Ejection
from balancer.relay.flows import Places
from balancer.relay.maker import udp
from balancer.relay.settings import UdpSettings
from balancer.relay.udp.protocol import FLOWS_A_TURN, Flow
from balancer.relay.udp.service import UdpBalancer
from balancer.wire import room
from balancer.wire.address import literal
from tests.relay.world import CLIENT, FakeLink, Site

HERE = b"our address"
OTHER = ("192.0.2.8", 5353)


def settings(**options: str) -> UdpSettings:
    """Of a section with these options."""
    given = {"listen": "0.0.0.0:8082", "pool": "p", **options}
    text = "[udp u]\n" + "".join(f"{k.replace('_', '-')} = {v}\n" for k, v in given.items())
    file = read(text, "site.ini", [udp.section])
    assert not file.problems, file.problems
    found: UdpSettings = file.sections[0].settings
    return found


class Relayed(SynchronousTestCase):
    """What the tests share."""

    def begin(self, site: Site | None = None, **options: str) -> None:
        """A balancer at work."""
        self.site = site or Site()
        self.balancer = UdpBalancer("u", self.site, link=self.site.link)
        self.balancer.prepare(settings(**options)).commit()
        self.balancer.startService()
        self.port = self.site.ports[8082]

    def send(self, data: bytes = b"ask", peer: Any = CLIENT, local: object = HERE) -> None:
        """A client's datagram comes."""
        self.port.received(data, peer, local)

    @property
    def link(self) -> FakeLink:
        """The latest socket to a server."""
        return self.site.links[-1]

    def unreachable(self, code: int = errno.ECONNREFUSED) -> None:
        """What ICMP says arrives at the latest socket."""
        self.link.failed(OSError(code, "whatever it is"))

    @property
    def dropped(self) -> dict[str, int]:
        """Datagrams dropped by reason."""
        return self.balancer.crowd.totals.dropped

    def assert_nothing_left(self) -> None:
        """No flow, no work on servers, no deadline, no open socket."""
        self.assertEqual(len(self.balancer.crowd.flows), 0)
        self.assertEqual(sum(self.site.in_flight.values()), 0)
        self.assertEqual(len(self.site.wheel), 0)
        self.assertTrue(all(link.closed for link in self.site.links))


class RelayingTests(Relayed):
    """The way there and back."""

    def test_there_and_back(self) -> None:
        """An answer goes to the client that asked, from the address that it asked."""
        self.begin()
        self.send(b"ask")
        self.assertEqual(self.link.sent, [b"ask"])
        self.link.received(b"answer")
        self.assertEqual(self.port.sent, [(b"answer", CLIENT, HERE)])
        status = self.balancer.status()
        self.assertEqual((status["bytes_to_server"], status["bytes_to_client"]), (3, 6))

    def test_one_flow_one_socket(self) -> None:
        """Datagrams of one client's port to one address share a server and a socket."""
        self.begin(Site(algorithm="round-robin"))
        for _ in range(3):
            self.send()
        self.assertEqual([link.sent for link in self.site.links], [[b"ask"] * 3])
        self.assertEqual(sum(self.site.in_flight.values()), 1)

    def test_flows_are_apart(self) -> None:
        """Another port, address, local address or listener makes another flow."""
        self.begin(listen="0.0.0.0:8082\n 0.0.0.0:8083")
        self.send()
        self.send(peer=(CLIENT[0], 1))
        self.send(peer=("192.0.2.99", CLIENT[1]))
        self.send(local=b"another")
        self.site.ports[8083].received(b"ask", CLIENT, HERE)
        self.assertEqual(len(self.site.links), 5)
        self.site.links[4].received(b"five")
        self.assertEqual(self.site.ports[8083].sent, [(b"five", CLIENT, HERE)])
        self.assertEqual(self.port.sent, [])

    def test_idle(self) -> None:
        """A flow is forgotten when neither side sent anything for the idle timeout."""
        self.begin(idle_timeout="10s")
        self.send()
        self.site.wait(9)
        self.link.received(b"answer")
        self.site.wait(9)
        self.send()
        self.site.wait(9)
        self.assertEqual(len(self.balancer.crowd.flows), 1)
        self.site.wait(1.5)
        self.assert_nothing_left()
        self.assertEqual(self.balancer.crowd.totals.ended, {"--": 1})

    def test_full_buffers(self) -> None:
        """What the kernel does not take, either way, is counted by why."""
        self.begin()
        self.send()
        self.link.full = self.port.full = True
        self.send()
        self.link.received(b"answer")
        self.assertEqual(self.dropped, {"send-server": 1, "send-client": 1})

    def test_too_big(self) -> None:
        """A datagram too big for the way is dropped and changes nothing."""
        self.begin()
        self.send()
        self.unreachable(errno.EMSGSIZE)
        self.assertEqual(self.dropped, {"too-big": 1})
        self.assertFalse(self.link.closed)

    def test_latency(self) -> None:
        """The time to the first answer is told to the pool."""
        self.begin()
        self.send()
        self.site.reactor.advance(0.25)
        self.link.received(b"1")
        self.site.reactor.advance(0.25)
        self.link.received(b"2")
        self.assertAlmostEqual(self.site.server("a").latency, 0.25)


class ServerTests(Relayed):
    """Which server, and what if it fails."""

    def test_stays_while_up(self) -> None:
        """A flow stays on its server when that drains, while new ones go elsewhere."""
        self.begin()
        self.send()
        self.site.publish(
            self.site.the_pool, self.site.the_pool.drain(self.site.server("a"))
        )
        self.send()
        self.send(peer=OTHER)
        self.assertEqual([len(link.sent) for link in self.site.links], [2, 1])
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 1})

    def test_down(self) -> None:
        """The flows of a server that went down find another with their next datagram."""
        self.begin()
        self.send()
        self.send(peer=OTHER)
        self.site.turn_down("a")
        self.assert_nothing_left()
        self.send()
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 1})
        self.assertEqual(self.balancer.crowd.totals.ended, {"SD": 2})

    def test_maintenance(self) -> None:
        """So do those of a server that entered maintenance."""
        self.begin()
        self.send()
        self.site.publish(
            self.site.the_pool, self.site.the_pool.maintain(self.site.server("a"))
        )
        self.assert_nothing_left()

    def test_removed(self) -> None:
        """The flows of a server that a reload removed find another with their next datagram."""
        self.begin()
        self.send()
        self.site.remove("a")
        self.assert_nothing_left()
        self.send()
        self.assertEqual(self.site.in_flight, {"b": 1})
        self.assertEqual(self.balancer.crowd.totals.ended, {"SD": 1})

    def test_name_moved(self) -> None:
        """So do those of a server whose DNS name stands for another address: checks go there."""
        self.begin()
        self.send()
        self.site.publish(self.site.the_pool, [Moved("p/a", "192.0.2.50:80")])
        self.assert_nothing_left()

    def test_another_pool(self) -> None:
        """Flows stay on the pool that they began on when a reload names another one; its verdicts
        hold for them as before."""
        self.begin()
        former = self.site.add_pool("q")
        self.send()
        self.balancer.prepare(settings(pool="q")).commit()
        self.send()
        self.send(peer=OTHER)
        self.assertEqual([len(link.sent) for link in self.site.links], [2, 1])
        self.site.turn_down("a")
        self.send()
        self.assertEqual((self.site.in_flight["a"], former.servers[0].in_flight), (0, 2))

    def test_removed_pool(self) -> None:
        """The flows of a pool that the site file has no more find a server of the new one, also if
        it went in a later reload than the one that named another."""
        for later in (False, True):
            self.begin()
            self.site.add_pool("q")
            self.send()
            if later:
                self.balancer.prepare(settings(pool="q")).commit()
                self.assertEqual(len(self.balancer.crowd.flows), 1)
            del self.site.pools["p"]
            self.balancer.prepare(settings(pool="q")).commit()
            self.assert_nothing_left()
            self.send()
            self.assertEqual(self.site.pools["q"].servers[0].in_flight, 1)

    def test_many_servers_down(self) -> None:
        """Servers that go in one turn share what a turn may cost."""
        self.begin(Site(algorithm="round-robin"))
        for port in range(FLOWS_A_TURN * 2):
            self.send(peer=("192.0.2.9", port))
        self.site.turn_down("a")
        self.site.turn_down("b")
        self.assertEqual(len(self.balancer.crowd.flows), FLOWS_A_TURN)
        self.site.reactor.advance(0)
        self.assert_nothing_left()

    def test_many_flows_of_a_server_down(self) -> None:
        """Ten thousand flows do not end in one turn of the reactor."""
        self.begin()
        self.balancer.crowd.flows.most = 10000
        for port in range(FLOWS_A_TURN + 10):
            self.send(peer=("192.0.2.9", port))
        self.site.turn_down("a")
        self.assertEqual(len(self.balancer.crowd.flows), 10)
        self.site.reactor.advance(0)
        self.assert_nothing_left()

    def test_unreachable(self) -> None:
        """After ICMP 'unreachable' the next datagram of the flow goes to another server."""
        self.begin()
        self.send(b"1")
        self.unreachable()
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 0})
        self.assertEqual(self.site.server("a").failures_total, 1)
        self.send(b"2")
        self.assertEqual(self.site.in_flight, {"a": 0, "b": 1})
        self.assertEqual([link.sent for link in self.site.links], [[b"1"], [b"2"]])
        self.assertTrue(self.site.links[0].closed)
        self.assertEqual(self.balancer.crowd.totals.moved, 1)

    def test_all_unreachable(self) -> None:
        """When every server was unreachable the search begins anew."""
        self.begin()
        for _ in range(2):
            self.send()
            self.unreachable()
        self.send()
        self.assertEqual(self.dropped, {"no-server": 1})
        self.send()
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 0})

    def test_unreachable_and_idle(self) -> None:
        """A flow without a server is forgotten as well."""
        self.begin(idle_timeout="1s")
        self.send()
        self.unreachable()
        self.site.wait(2)
        self.assert_nothing_left()

    def test_ejection(self) -> None:
        """Unreachable servers are ejected as the pool has it."""
        self.begin(Site(eject=Ejection(1, 10.0, 30.0)))
        self.send()
        self.unreachable()
        self.assertEqual([type(e).__name__ for e in self.site.published], ["WasEjected"])

    def test_our_own_trouble(self) -> None:
        """An error that says nothing about the server is not held against it."""
        self.begin()
        self.send()
        self.unreachable(errno.ECONNABORTED)
        self.assertEqual(self.site.server("a").failures_total, 0)
        self.send()
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 0})

    def test_key(self) -> None:
        """A pool that chooses by address and port sends a flow to the same server for ever."""
        self.begin(Site("abcdefgh", algorithm="maglev"), idle_timeout="1s")
        self.site.the_pool.build()
        for _ in range(4):
            self.send()
            self.site.wait(2)
        self.assertEqual(len({link.address for link in self.site.links}), 1)
        for port in range(50):
            self.send(peer=(CLIENT[0], port))
        self.assertGreater(len({link.address for link in self.site.links}), 4)

    def test_nobody(self) -> None:
        """Without a server the datagram is dropped, counted, and leaves nothing."""
        self.begin(Site("a"))
        self.site.turn_down("a")
        self.send()
        self.assertEqual(self.dropped, {"no-server": 1})
        self.assert_nothing_left()


class BoundTests(Relayed):
    """Who may come."""

    def test_full(self) -> None:
        """In a full table an unanswered flow gives way; answered ones do not."""
        self.begin(max_connections="2")
        self.send()
        self.link.received(b"answer")
        self.send(peer=OTHER)
        self.send(peer=("192.0.2.9", 9))
        self.assertTrue(self.site.links[1].closed)
        self.link.received(b"answer")
        self.send(peer=OTHER)
        self.assertEqual(self.dropped, {"full": 1})
        self.assertEqual(self.balancer.crowd.totals.ended, {"PD": 1})
        self.assertEqual(self.site.in_flight, {"a": 2, "b": 0})

    def test_per_source(self) -> None:
        """One address may have so many flows, and gets room again when one ends."""
        self.begin(max_connections_per_source="1", idle_timeout="1s")
        self.send()
        self.send(peer=(CLIENT[0], 1))
        self.assertEqual(self.dropped, {"source": 1})
        self.send(peer=OTHER)
        self.site.wait(2)
        self.send(peer=(CLIENT[0], 1))
        self.assertEqual(len(self.balancer.crowd.flows), 1)

    def test_rate(self) -> None:
        """New flows beyond the rate are dropped; datagrams of old ones are not."""
        self.begin(rate="1/s")
        self.send()
        self.send(peer=OTHER)
        self.send()
        self.assertEqual(self.dropped, {"rate": 1})
        self.assertEqual(self.link.sent, [b"ask"] * 2)

    def test_no_descriptors(self) -> None:
        """When no socket can be had the datagram is dropped and nothing is held."""
        self.begin(max_connections_per_source="1")
        self.site.no_sockets = True
        self.send()
        self.assertEqual(self.dropped, {"no-socket": 1})
        self.assert_nothing_left()
        self.site.no_sockets = False
        self.send()
        self.assertEqual(len(self.balancer.crowd.flows), 1)

    def test_room_for_descriptors(self) -> None:
        """More flows than file descriptors allow are not promised, and the log says so."""
        self.patch(room, "flows", lambda: 7)
        with capturedLogs() as logged:
            self.begin(max_connections="10000000")
        self.assertEqual(self.balancer.status()["max_connections"], 7)
        (told,) = logged
        self.assertIn("room for 7 flows, all [udp] sections together", formatEvent(told))

    def test_lowered_bound(self) -> None:
        """After a reload that lowers max-connections the table shrinks as new flows come, which are
        dropped until there is room."""
        self.begin()
        for port in range(3):
            self.send(peer=("192.0.2.9", port))
        self.balancer.prepare(settings(max_connections="2")).commit()
        for _ in range(2):
            self.send()
        self.assertEqual(self.dropped, {"full": 1})
        self.assertEqual(len(self.balancer.crowd.flows), 2)
        self.assertEqual(sum(self.site.in_flight.values()), 2)


class BudgetTests(SynchronousTestCase):
    """Two sections and the file descriptors of one process."""

    def setUp(self) -> None:
        """Room for six flows in all, of which each section would take a thousand."""
        self.patch(room, "flows", lambda: 6)
        self.site = Site()
        places: Places[Flow] = Places()
        self.both = [self.balancer(name, places) for name in ("8082", "8083")]

    def balancer(self, port: str, places: Places[Flow]) -> UdpBalancer:
        """One at work on that port."""
        made = UdpBalancer(port, self.site, self.site.link, places)
        made.prepare(settings(listen=f"0.0.0.0:{port}", max_connections="1000")).commit()
        made.startService()
        return made

    def flood(self, port: int, count: int) -> None:
        """That many new flows come to a listener."""
        for number in range(count):
            self.site.ports[port].received(b"?", ("192.0.2.9", number), None)

    def opened(self) -> int:
        """Sockets to servers that are open."""
        return sum(not link.closed for link in self.site.links)

    def test_floods(self) -> None:
        """Floods at both have no more sockets together than one would have; it is counted whose
        flows gave way, and the log says once what to do."""
        with capturedLogs() as logged:
            for _ in range(3):
                self.flood(8082, 20)
                self.flood(8083, 20)
                self.assertEqual(self.opened(), 6)
        self.assertTrue(all(len(each.crowd.flows) for each in self.both))
        self.assertGreater(sum(b.crowd.totals.ended["PD"] for b in self.both), 50)
        self.assertEqual(len(logged), 2)
        self.assertIn("raise ulimit -n (LimitNOFILE)", formatEvent(logged[0]))

    def test_flows_at_work_stay(self) -> None:
        """Answered flows of the one do not give way to a flood at the other; when they have all
        places its datagrams are dropped and counted."""
        self.flood(8082, 6)
        for link in self.site.links[:5]:
            link.received(b"!")
        self.flood(8083, 20)
        self.assertEqual([len(each.crowd.flows) for each in self.both], [5, 1])
        self.site.links[-1].received(b"!")
        self.flood(8083, 3)
        self.assertEqual(self.both[1].crowd.totals.dropped, {"descriptors": 3})
        self.assertEqual(self.opened(), 6)

    def test_places_come_back(self) -> None:
        """What one section has no more the other may have, also when the one was stopped."""
        self.flood(8082, 6)
        self.successResultOf(self.both[0].stopService())
        self.flood(8083, 6)
        self.assertEqual(len(self.both[1].crowd.flows), 6)
        self.assertEqual(self.both[1].crowd.totals.ended, {})

    def test_makers(self) -> None:
        """All that the plugin makes share their places."""
        one, other = (udp.make(name, self.site) for name in "ab")
        assert isinstance(one, UdpBalancer) and isinstance(other, UdpBalancer)
        self.assertIs(one.crowd.flows.places, other.crowd.flows.places)


class LifeTests(Relayed):
    """Start, drain, stop, reload, and what is shown."""

    def test_drain(self) -> None:
        """A drain makes no new flows and fires when the old ones have become idle."""
        self.begin(idle_timeout="5s")
        self.send()
        done = self.balancer.drain()
        self.send()
        self.send(peer=OTHER)
        self.link.received(b"answer")
        self.assertEqual(self.dropped, {"draining": 1})
        self.assertEqual((len(self.link.sent), len(self.port.sent)), (2, 1))
        self.assertNoResult(done)
        self.site.wait(6)
        self.successResultOf(done)

    def test_stop(self) -> None:
        """A stop ends every flow at once."""
        self.begin()
        self.send()
        self.successResultOf(self.balancer.stopService())
        self.assert_nothing_left()
        self.assertIsNone(self.port.received)

    def test_unix_server(self) -> None:
        """A server on a unix socket takes no datagrams: that is told, and nothing is changed."""
        self.begin()
        server = self.site.add_pool("q").servers[0]
        server.address = literal("unix:/run/x", 0)
        with self.assertRaises(PrepareError) as caught:
            self.balancer.prepare(settings(pool="q"))
        self.assertEqual(
            str(caught.exception),
            "[udp u] pool: expected servers at ADDRESS:PORT, since they get datagrams, got q/x at "
            "unix:/run/x; give it an address and a port, or name another pool",
        )
        self.send()
        self.assertEqual(self.site.in_flight, {"a": 1, "b": 0})

    def test_reload(self) -> None:
        """A reload moves no flow: the same client, listener and server go on."""
        self.begin()
        self.send()
        self.balancer.prepare(settings(max_connections="7", idle_timeout="1s")).commit()
        self.send()
        self.assertEqual(len(self.site.links), 1)
        self.assertEqual(self.balancer.crowd.flows.most, 7)

    def test_access_log(self) -> None:
        """One line for each flow, when it has ended."""
        self.begin(access_log="log", idle_timeout="1s")
        self.send(peer=("2001:db8::7", 53, 0, 0))
        self.link.received(b"answer")
        self.link.received(b"more")
        self.site.wait(2)
        (line,) = self.site.log.lines
        self.assertRegex(
            line, r"^\[2001:db8::7\]:53 \[[^]]+\] udp/u p/a 1/2/1\d\d\d 3/10 -- 0\n$"
        )

    def samples(self) -> dict[tuple[str, str], float]:
        """Metrics by name and their own label."""
        return {
            (metric.name.removeprefix("balancer_udp_"), "".join(
                value for label, value in sample.labels.items() if label != "balancer"
            )): sample.value
            for metric in self.balancer.metrics()
            for sample in metric.samples
        }

    def test_listeners_counts(self) -> None:
        """What each listener has received, sent and dropped is shown."""
        self.begin(listen="0.0.0.0:8082\n 0.0.0.0:8083")
        port = self.site.ports[8083]
        port.received_total, port.sent_total, port.dropped_total = 5, 3, 1
        name = str(port.address)
        self.assertEqual(
            self.balancer.status()["listeners"][name], {"received": 5, "sent": 3, "dropped": 1}
        )
        samples = self.samples()
        for what, value in (("received", 5), ("sent", 3), ("dropped", 1)):
            self.assertEqual(samples[f"listener_{what}", name], value)
            self.assertEqual(samples[f"listener_{what}", str(self.port.address)], 0)

    def test_sends_to_servers_that_failed(self) -> None:
        """What the kernel did not take for a server is shown after its flow has gone, too."""
        self.begin(idle_timeout="1s")
        self.send()
        self.link.full = True
        self.send()
        self.site.wait(2)
        self.assertEqual(self.samples()["dropped", "send-server"], 1)

    def test_forgotten_rates(self) -> None:
        """Rates that were forgotten for want of room are shown, over reloads as well."""
        self.patch(Rates.__init__, "__defaults__", (2,))
        self.begin(rate="1/h per source")
        for last in range(3):
            self.send(peer=(f"192.0.2.{last}", 1))
        self.assertEqual(self.samples()["rate_forgotten", ""], 1)
        self.balancer.prepare(settings(rate="2/h per source")).commit()
        self.assertEqual(self.balancer.status()["rate_forgotten"], 1)
        self.assertEqual(self.samples()["rate_forgotten", ""], 1)

    def test_metrics(self) -> None:
        """Every sample bears the balancer's name."""
        self.begin()
        self.send()
        for metric in self.balancer.metrics():
            self.assertTrue(metric.name.startswith("balancer_udp_"))
            for sample in metric.samples:
                self.assertEqual(sample.labels["balancer"], "u")
