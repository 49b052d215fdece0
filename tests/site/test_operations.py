"""What an operator may ask: every verb, what it answers, and what a refusal leaves as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from balancer.config.slices import Slices
from balancer.interfaces import IOperator, NotDone
from balancer.site.files import load
from balancer.site.operations import Operations
from balancer.site.plan import Plan
from balancer.site.service import SiteService
from balancer.wire.slices import SLICE_SECONDS
from tests.site.test_reload import ReloadTestCase
from tests.site.test_service import TEXT


class OperationsTests(ReloadTestCase):
    """A site of two balancers, and its operator."""

    def setUp(self) -> None:
        super().setUp()
        self.file = Path(self.mktemp())
        self.file.write_text(TEXT)
        self.site = SiteService(self.reactor, self.load(), self.makers)
        self.operator = Operations(self.reactor, self.site, str(self.file))

    def load(self) -> Any:
        """The plan of the file."""
        return load(str(self.file), self.makers)

    def done(self, asked: Deferred[Any]) -> Any:
        """What a request answers, when its slices are done."""
        self.settle()
        return self.successResultOf(asked)

    def refused(self, asked: Deferred[Any]) -> NotDone:
        """Why a request was refused."""
        self.settle()
        error: NotDone = self.failureResultOf(asked, NotDone).value
        return error

    def settle(self) -> None:
        """Let all slices be done."""
        for _ in range(20):
            self.reactor.advance(0)

    def test_interface(self) -> None:
        """The operations are an IOperator."""
        verifyObject(IOperator, self.operator)

    # -- files

    def test_check(self) -> None:
        """`check` tells every problem of any file, and whether it is sound."""
        other = Path(self.mktemp())
        other.write_text("[pool x]\nservers = y\n[gaet z]\n")
        found = self.done(self.operator.check(str(other)))
        self.assertFalse(found["ok"])
        self.assertEqual(len(found["problems"]), 2)
        self.assertEqual(
            self.done(self.operator.check(str(self.file))), {"ok": True, "problems": []}
        )

    def test_no_file(self) -> None:
        """A file that is not there is named with the reason."""
        error = self.refused(self.operator.plan("/nowhere/x.ini"))
        self.assertIn("/nowhere/x.ini", str(error))
        self.assertIn("No such file", str(error))

    def test_plan_changes_nothing(self) -> None:
        """`plan` says what a reload would do, and does not do it."""
        self.file.write_text(TEXT.replace("127.0.0.1:2", "127.0.0.1:2 weight=3"))
        planned = self.done(self.operator.plan(str(self.file)))
        self.assertEqual(planned["changes"], ["~ server free/a: weight 1 -> 3"])
        self.assertEqual(self.site.context.pool("free").server("a").weight, 1)

    def test_reload(self) -> None:
        """`reload` does what `plan` said."""
        self.file.write_text(TEXT.replace("127.0.0.1:2", "127.0.0.1:2 weight=3"))
        planned = self.done(self.operator.plan(str(self.file)))
        self.assertEqual({**self.done(self.operator.reload()), "commands": []}, planned)
        self.assertEqual(self.site.context.pool("free").server("a").weight, 3)
        self.assertEqual(self.done(self.operator.reload())["changes"], [])

    def test_bad_reload(self) -> None:
        """A file with errors changes nothing, and every error is told."""
        self.file.write_text(TEXT.replace("127.0.0.1:2", "x").replace("[gate two]", "[gaet two]"))
        error = self.refused(self.operator.reload())
        self.assertIn("nothing was changed", str(error))
        self.assertEqual(len(error.problems), 2)
        self.assertEqual(len(self.site.plan.balancers), 2)

    def test_another_state(self) -> None:
        """Another directory for what must survive is refused: it changes only at a restart."""
        self.file.write_text(TEXT.replace("name = here", "state = elsewhere"))
        self.assertIn("state can change only at restart", str(self.refused(self.operator.reload())))
        self.assertNotIn("elsewhere", self.site.context.state)

    def test_failed_prepare(self) -> None:
        """What cannot be prepared is told, and the reload after it works."""
        self.file.write_text(TEXT + "fault = broken\n")
        self.assertIn("broken", str(self.refused(self.operator.reload())))
        self.file.write_text(TEXT.replace("10s", "20s"))
        self.assertEqual(len(self.done(self.operator.reload())["changes"]), 1)

    def test_one_at_a_time(self) -> None:
        """A reload is refused while another goes on, and while the site drains."""
        following = self.site.following

        def slowly(plan: Plan) -> Slices[Sequence[str]]:
            self.reactor.rightNow += SLICE_SECONDS
            yield
            return (yield from following(plan))

        self.patch(self.site, "following", slowly)
        first = self.operator.reload()
        self.assertRaises(NotDone, self.operator.reload)
        self.done(first)
        self.site.drain()
        self.assertRaises(NotDone, self.operator.reload)

    def test_signal_during_a_reload(self) -> None:
        """A signal that comes during a reload is followed by another one: the file may have changed
        since it was read."""
        following = self.site.following

        def slowly(plan: Plan) -> Slices[Sequence[str]]:
            self.reactor.rightNow += SLICE_SECONDS
            yield
            return (yield from following(plan))

        self.patch(self.site, "following", slowly)
        self.operator.reload_again()
        self.reactor.advance(0)
        self.file.write_text(TEXT.replace("127.0.0.1:2", "127.0.0.1:2 weight=3"))
        self.operator.reload_again()
        self.settle()
        self.assertEqual(self.site.context.pool("free").server("a").weight, 3)

    def test_many_changes(self) -> None:
        """A reload of thousands of changes logs some of them, and how many more there are."""
        lines: list[Any] = []
        observer: Any = lines.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        more = "".join(f"\n    n{at} 127.0.0.1:{at}" for at in range(100, 300))
        self.file.write_text(TEXT.replace("127.0.0.1:2", "127.0.0.1:2" + more))
        done = self.successResultOf(self.operator.reload())
        self.assertEqual(len(done["changes"]), 200)
        self.assertEqual(len([each for each in lines if "change" in each]), 100)
        self.assertIn(100, [each.get("more") for each in lines])

    def test_many_signals(self) -> None:
        """Signals that came in one turn are one reload: a storm of them holds up nobody."""
        plans: list[Plan] = []
        following = self.site.following

        def counted(plan: Plan) -> Slices[Sequence[str]]:
            plans.append(plan)
            return following(plan)

        self.patch(self.site, "following", counted)
        for _ in range(100):
            self.operator.reload_again()
        self.settle()
        self.assertEqual(len(plans), 1)
        self.operator.reload_again()
        self.settle()
        self.assertEqual(len(plans), 2)

    def test_signal_that_fails(self) -> None:
        """A signal whose reload fails, or cannot begin, raises nothing."""
        self.file.write_text("[nonsense\n")
        self.operator.reload_again()
        self.settle()
        self.site.drain()
        self.operator.reload_again()
        self.settle()
        self.assertEqual(len(self.site.plan.balancers), 2)

    # -- servers

    def test_drain_and_ready(self) -> None:
        """A server that drains gets no new work, and is given back by `ready`."""
        self.assertEqual(self.operator.drain("free/a")["state"], "drain")
        self.assertIsNone(self.site.context.pool("free").choose(None))
        self.assertEqual(self.operator.ready("free/a")["state"], "up")
        self.assertEqual(self.site.events()[-1].event.text(), "free/a became ready and is up")

    def test_maintain(self) -> None:
        """Maintenance takes it out."""
        self.assertEqual(self.operator.maintain("free/a")["state"], "maint")

    def test_weigh(self) -> None:
        """The weight is changed until the file says otherwise; a wrong one is refused."""
        self.assertEqual(self.operator.weigh("free/a", 5)["weight"], 5)
        for wrong in (-1, 257):
            self.assertRaises(NotDone, self.operator.weigh, "free/a", wrong)

    def test_unknown_server(self) -> None:
        """A server that is not there is refused, with the one that was meant."""
        for name in ("fre/a", "free/aa", "a", "", "/"):
            error = self.assertRaises(NotDone, self.operator.drain, name)
            self.assertIn("expected a server (POOL/NAME)", str(error))
        error = self.assertRaises(NotDone, self.operator.drain, "fre/a")
        self.assertIn("did you mean 'free/a'?", str(error))

    def test_drain_site(self) -> None:
        """`drain site` begins to end the process in good order."""
        self.operator.drain("site")
        self.assertTrue(self.site.draining)

    # -- explain

    def test_explain_unknown(self) -> None:
        """A balancer that is not there, or that cannot explain, is told."""
        error = self.assertRaises(NotDone, self.operator.explain, "gate", "onne", {})
        self.assertIn("did you mean 'one'?", str(error))
        error = self.assertRaises(NotDone, self.operator.explain, "gate", "one", {})
        self.assertIn("not in this version", str(error))
