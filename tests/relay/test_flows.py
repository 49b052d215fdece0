"""The table of flows."""

from __future__ import annotations

from collections.abc import Hashable

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.relay.flows import Flows, Places


@define(eq=False)
class OneFlow:
    """The least that is a flow."""

    key: Hashable
    server_key: str = "p/a"


class FlowsTests(SynchronousTestCase):
    """Bounds, who gives way, and whose flows are where."""

    def full(self) -> tuple[Flows[OneFlow], list[OneFlow]]:
        """A table of three, full."""
        table: Flows[OneFlow] = Flows(3)
        flows = [OneFlow(n) for n in range(3)]
        for flow in flows:
            self.assertEqual(table.room(), (True, None))
            table.add(flow)
        return table, flows

    def two(self, most: int = 4) -> tuple[Flows[OneFlow], Flows[OneFlow]]:
        """Two tables that share `most` places and might have all of them each."""
        places: Places[OneFlow] = Places(most)
        return Flows(most, places), Flows(most, places)

    def test_places_are_shared(self) -> None:
        """Two tables have no more flows together than there are places, and a place that one
        leaves the other may take."""
        one, other = self.two()
        flows = [OneFlow(n) for n in range(4)]
        for flow, table in zip(flows, (one, one, one, other), strict=True):
            self.assertEqual(table.room(), (True, None))
            table.add(flow)
        self.assertRaises(ValueError, other.add, OneFlow("new"))
        one.remove(flows[0])
        self.assertEqual(other.room(), (True, None))
        other.add(OneFlow("new"))
        self.assertEqual((len(one), len(other), one.places.taken), (2, 2, 4))

    def test_a_flood_does_not_starve_others(self) -> None:
        """When all places are taken, the table with most unanswered flows gives one up, whoever
        asks; when all flows have been answered, nobody does."""
        one, other = self.two()
        flows = [OneFlow(n) for n in range(4)]
        for flow, table in zip(flows, (one, one, one, other), strict=True):
            table.add(flow)
        self.assertEqual(other.room(), (True, flows[0]))
        self.assertEqual(one.room(), (True, flows[0]))
        for flow in flows[:3]:
            one.answered(flow)
        self.assertEqual(one.room(), (True, flows[3]))
        other.answered(flows[3])
        self.assertEqual(one.room(), (False, None))

    def test_lowered_bound(self) -> None:
        """A table whose bound was lowered takes nobody until it has shrunk, one at a time."""
        table, flows = self.full()
        table.most = 2
        self.assertEqual(table.room(), (False, flows[0]))
        table.remove(flows[0])
        self.assertEqual(table.room(), (True, flows[1]))

    def test_found_by_key(self) -> None:
        """A flow is found by its key until it is removed, once."""
        table, flows = self.full()
        self.assertIs(table.by_key[1], flows[1])
        self.assertTrue(table.remove(flows[1]))
        self.assertFalse(table.remove(flows[1]))
        self.assertNotIn(1, table.by_key)
        self.assertEqual(len(table), 2)

    def test_oldest_unanswered_gives_way(self) -> None:
        """In a full table the oldest flow without an answer gives way."""
        table, flows = self.full()
        table.answered(flows[0])
        self.assertEqual(table.room(), (True, flows[1]))

    def test_answered_flows_stay(self) -> None:
        """When every flow has been answered a new one is refused."""
        table, flows = self.full()
        for flow in flows:
            table.answered(flow)
        self.assertEqual(table.room(), (False, None))

    def test_never_over_the_bound(self) -> None:
        """A flow beyond the bound, or twice, is a fault of the caller."""
        table, flows = self.full()
        self.assertRaises(ValueError, table.add, OneFlow("new"))
        table.remove(flows[0])
        self.assertRaises(ValueError, table.add, OneFlow(1))
        self.assertRaises(ValueError, Flows, 0)

    def test_by_server(self) -> None:
        """The flows of a server are known, also after they moved."""
        table, flows = self.full()
        table.moved(flows[2], "p/b")
        self.assertEqual(table.of("p/a"), (flows[0], flows[1]))
        self.assertEqual(table.of("p/b"), (flows[2],))
        table.remove(flows[2])
        self.assertEqual(table.of("p/b"), ())

    def test_a_move_needs_a_new_answer(self) -> None:
        """A flow that moved is unanswered again."""
        table, flows = self.full()
        for flow in flows:
            table.answered(flow)
        table.moved(flows[1], "")
        self.assertEqual(table.room(), (True, flows[1]))

    @settings(max_examples=10, deadline=None, database=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["add", "answer", "move", "remove"]),
                st.integers(0, 7),
                st.sampled_from(["p/a", "p/b", ""]),
            ),
            max_size=40,
        )
    )
    def test_agrees_with_a_plain_dict(self, steps: list[tuple[str, int, str]]) -> None:
        """Whatever happens in whatever order, each flow is in one place and the bound holds."""
        table: Flows[OneFlow] = Flows(4)
        plain: dict[int, OneFlow] = {}
        for what, key, server in steps:
            flow = plain.get(key)
            if what == "add" and flow is None:
                room, oldest = table.room()
                if oldest is not None:
                    table.remove(oldest)
                    del plain[oldest.key]  # type: ignore[arg-type]  # keys here are int
                if room:
                    plain[key] = OneFlow(key, server)
                    table.add(plain[key])
            elif flow is not None and what == "answer":
                table.answered(flow)
            elif flow is not None and what == "move":
                table.moved(flow, server)
            elif flow is not None and what == "remove":
                table.remove(plain.pop(key))
            self.assertEqual(table.by_key, plain)
            self.assertLessEqual(len(table), 4)
            for name in ("p/a", "p/b", ""):
                mine = {f.key for f in plain.values() if f.server_key == name}
                self.assertEqual({f.key for f in table.of(name)}, mine)
