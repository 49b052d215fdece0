"""The site's life: made, started, drained, stopped; and what it shows of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides, implementer
from zope.interface.verify import verifyObject

from balancer.config.schema import Reference, Section, option
from balancer.config.values import name
from balancer.interfaces import (
    IBalancer,
    IBalancerMaker,
    ICheck,
    ICheckMaker,
    IContext,
    IPrepared,
    ISite,
    IWithdraws,
    Metric,
    NoPrivilege,
    PrepareError,
    Sample,
)
from balancer.site.plan import Makers
from balancer.site.reading import read
from balancer.site.service import SiteService
from balancer.wire.address import Address


@frozen
class GateSettings:
    """A kind that sends to a pool."""

    pool: str = option(name, required=True, help="Whither.")
    fault: str | None = option(name, help="What prepare says.")


@implementer(IPrepared)
class GatePrepared:
    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def commit(self) -> None:
        self.gate.done.append(f"commit {self.gate.name}")

    def abandon(self) -> None:
        self.gate.done.append(f"abandon {self.gate.name}")


@implementer(IBalancer)
class Gate(Service):
    """A balancer that writes down what it was told."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name = name
        self.done = done
        self.drained: Deferred[None] = Deferred()

    def prepare(self, settings: GateSettings) -> IPrepared:
        if settings.fault is not None:
            kind = NoPrivilege if settings.fault == "privilege" else PrepareError
            raise kind(settings.fault)
        self.done.append(f"prepare {self.name}")
        return GatePrepared(self)

    def startService(self) -> None:
        super().startService()
        self.done.append(f"start {self.name}")

    def stopService(self) -> None:
        self.done.append(f"stop {self.name}")

    def drain(self) -> Deferred[None]:
        self.done.append(f"drain {self.name}")
        return self.drained

    def status(self) -> Mapping[str, Any]:
        return {"kind": "gate", "name": str(self.name)}

    def metrics(self) -> Sequence[Metric]:
        return [
            Metric("balancer_gate", "Gates.", "gauge", (Sample({"balancer": str(self.name)}, 1),))
        ]


@implementer(IPlugin, IBalancerMaker)
class GateMaker:
    kind = "gate"
    section = Section(
        kind="gate",
        settings=GateSettings,
        help="For tests.",
        references=lambda settings: [Reference("pool", settings.pool, "pool")],
    )

    def __init__(self) -> None:
        self.made: dict[str, Gate] = {}
        self.done: list[str] = []

    def make(self, name: str, context: IContext) -> IBalancer:
        self.made[name] = Gate(name, self.done)
        return self.made[name]


@implementer(ICheck)
class NeverCheck:
    """A check that no server passes."""

    def probe(self, target: Address, timeout: float) -> Deferred[str]:
        return fail(OSError("refused"))


@implementer(IPlugin, ICheckMaker)
class NeverMaker:
    name = "tcp"
    help = ""

    def parse(self, words: Sequence[str]) -> Callable[[IContext], ICheck]:
        return lambda context: NeverCheck()


TEXT = """
[site]
name = here
admin = off
control = off
drain-timeout = 10s
[pool app]
servers = a 127.0.0.1:1
[pool free]
servers = a 127.0.0.1:2
check = none
[gate one]
pool = app
[gate two]
pool = free
"""


class SiteTests(SynchronousTestCase):
    """A site of two balancers on a clock of its own."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.maker = GateMaker()

    def site(self, text: str = TEXT) -> SiteService:
        """The site of `text`."""
        makers = Makers({"gate": self.maker}, {"tcp": NeverMaker()}, {"kind bad": "no rope"})
        reactor: Any = self.reactor
        return SiteService(reactor, read(text, "s.ini", makers), makers)

    def test_interfaces(self) -> None:
        """The site is an ISite, its gates are balancers, and what it lends is an IContext."""
        site = self.site()
        verifyObject(ISite, site)
        verifyObject(IContext, site.context)
        verifyObject(IBalancer, self.maker.made["one"])

    def test_state(self) -> None:
        """The directory for what must survive is lent by its absolute path, `run` by default."""
        for line, path in {"": "run", "state = kept/here\n": "kept/here"}.items():
            site = self.site(TEXT.replace("name = here\n", line))
            self.assertEqual(site.context.state, os.path.abspath(path))

    def test_all_prepared_before_any_commits(self) -> None:
        """Every balancer is prepared before the first change is put in force."""
        self.site()
        self.assertEqual(
            self.maker.done, ["prepare one", "prepare two", "commit one", "commit two"]
        )

    def test_failed_prepare(self) -> None:
        """When one balancer cannot be prepared, the others' changes are dropped."""
        text = TEXT + "fault = broken\n"
        self.assertRaises(PrepareError, self.site, text)
        self.assertEqual(self.maker.done, ["prepare one", "abandon one"])

    def test_lacking_privileges(self) -> None:
        """Only when nothing but privileges lacks is that said as such; all is told in any case."""
        both = TEXT.replace("[gate two]", "fault = privilege\n[gate two]")
        error = self.assertRaises(NoPrivilege, self.site, both + "fault = privilege\n")
        self.assertEqual(str(error), "privilege\nprivilege")
        error = self.assertRaises(PrepareError, self.site, both + "fault = broken\n")
        self.assertNotIsInstance(error, NoPrivilege)
        self.assertEqual(str(error), "privilege\nbroken")

    def test_starts_nothing_before_its_time(self) -> None:
        """Balancers start with the site, not before."""
        site = self.site()
        self.assertNotIn("start one", self.maker.done)
        site.startService()
        self.addCleanup(site.stopService)
        self.assertEqual(self.maker.done[-2:], ["start one", "start two"])

    def test_drain_waits_for_all(self) -> None:
        """A drain is over when every balancer's is."""
        site = self.site()
        site.startService()
        drained = site.drain()
        self.assertTrue(site.draining)
        self.assertFalse(site.healthy())
        self.maker.made["one"].drained.callback(None)
        self.assertNoResult(drained)
        self.maker.made["two"].drained.callback(None)
        self.successResultOf(drained)
        self.successResultOf(site.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_withdraws_before_it_drains(self) -> None:
        """Who withdraws does so before anybody drains; one that fails to does not hold the rest."""
        site = self.site()
        withdrawn: list[Deferred[None]] = []

        def withdraw() -> Deferred[None]:
            withdrawn.append(Deferred())
            return withdrawn[-1]

        for gate in self.maker.made.values():
            gate.withdraw = withdraw  # type: ignore[attr-defined]
            alsoProvides(gate, IWithdraws)
        drained = site.drain()
        self.assertTrue(site.draining)
        self.assertNotIn("drain one", self.maker.done)
        withdrawn[0].callback(None)
        self.assertNotIn("drain one", self.maker.done)
        withdrawn[1].errback(RuntimeError("no route"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(["drain one", "drain two"], self.maker.done[-2:])
        self.assertNoResult(drained)
        for gate in self.maker.made.values():
            gate.drained.callback(None)
        self.successResultOf(drained)
        self.assertIs(drained, site.drain())
        self.assertEqual(2, len(withdrawn))

    def test_drain_is_bounded(self) -> None:
        """A drain that takes longer than drain-timeout is over then."""
        site = self.site()
        drained = site.drain()
        self.reactor.advance(9.9)
        self.assertNoResult(drained)
        self.reactor.advance(0.1)
        self.successResultOf(drained)

    def test_failed_drain(self) -> None:
        """A balancer that fails to drain does not hold the site, nor end the wait for others."""
        site = self.site()
        drained = site.drain()
        self.maker.made["one"].drained.errback(RuntimeError("bad gate"))
        self.assertNoResult(drained)
        self.maker.made["two"].drained.callback(None)
        self.successResultOf(drained)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_leave(self) -> None:
        """Leaving drains first and stops the reactor when that is done, once."""
        site = self.site()
        stops = self.stops()
        site.leave()
        self.assertEqual((self.maker.done[-1], stops), ("drain two", []))
        for gate in self.maker.made.values():
            gate.drained.callback(None)
        self.assertEqual(stops, ["stop"])

    def test_leave_twice(self) -> None:
        """Asked a second time, it stops at once, and the end of the drain is no second stop."""
        site = self.site()
        stops = self.stops()
        site.leave()
        site.leave()
        self.assertEqual(stops, ["stop"])
        self.reactor.advance(11)
        self.assertEqual(stops, ["stop"])

    def stops(self) -> list[str]:
        """Has one entry for each time that the reactor is stopped from now on."""
        stops: list[str] = []
        self.patch(self.reactor, "stop", lambda: stops.append("stop"))
        return stops

    def test_drain_twice(self) -> None:
        """Draining again is the same drain."""
        site = self.site()
        self.assertIs(site.drain(), site.drain())
        self.assertEqual(self.maker.done.count("drain one"), 1)

    def test_verdict_reaches_health(self) -> None:
        """A failed first check takes the server, its pool and its balancer down."""
        site = self.site()
        site.startService()
        self.addCleanup(site.stopService)
        self.assertTrue(site.healthy())
        self.reactor.advance(1)
        self.reactor.advance(1)
        self.assertFalse(site.healthy())
        status = site.snapshot().status
        self.assertEqual(status["pools"]["app"]["servers"]["a"]["state"], "down")
        self.assertFalse(status["balancers"]["gate:one"]["healthy"])
        self.assertTrue(status["balancers"]["gate:two"]["healthy"])
        self.assertIn(
            ("app/a", "WentDown"), [(each["server"], each["event"]) for each in status["events"]]
        )

    def test_status_is_json(self) -> None:
        """The status can be written as JSON, and names what cannot be used."""
        status = json.loads(json.dumps(self.site().snapshot().status))
        self.assertEqual(status["site"]["name"], "here")
        self.assertEqual(status["site"]["unavailable"], {"kind bad": "no rope"})
        self.assertEqual(status["balancers"]["gate:one"]["kind"], "gate")

    def test_balancer_that_cannot_tell(self) -> None:
        """A balancer that raises when it is asked for its figures spoils nobody else's."""
        site = self.site()

        def raises() -> Any:
            raise RuntimeError("no figures")

        for method in ("status", "metrics"):
            self.patch(self.maker.made["one"], method, raises)
        snapshot = site.snapshot()
        self.assertEqual(snapshot.status["balancers"]["gate:two"]["name"], "two")
        self.assertEqual(snapshot.status["balancers"]["gate:two"], site.telling_of("gate:two"))
        self.assertIsNone(site.telling_of("gate:none"))
        self.assertIn("balancer_gate", {metric.name for metric in snapshot.metrics})
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_maker_that_raises(self) -> None:
        """A maker that raises is told with its section, whatever it raised."""

        def raises(name: str, context: IContext) -> IBalancer:
            raise RuntimeError("no gate")

        self.patch(self.maker, "make", raises)
        error: PrepareError = self.assertRaises(PrepareError, self.site)
        self.assertEqual(str(error), "[gate one] cannot be made: RuntimeError: no gate")

    def test_metrics(self) -> None:
        """Metrics hold the site's own, by pool and server, and each balancer's."""
        metrics = list(self.site().snapshot().metrics)
        self.assertIn("balancer_gate", [metric.name for metric in metrics])
        up = [metric.samples for metric in metrics if metric.name == "balancer_server_up"]
        self.assertEqual(
            [dict(sample.labels) for samples in up for sample in samples],
            [{"pool": "app", "server": "a"}, {"pool": "free", "server": "a"}],
        )
        self.assertIn("balancer_log_dropped", [metric.name for metric in metrics])
        for metric in metrics:
            self.assertTrue(metric.name.startswith("balancer_"), metric.name)
