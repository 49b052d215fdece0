"""What is due when."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from balancer.resolve.agenda import Agenda


class AgendaTests(SynchronousTestCase):
    """An agenda of names."""

    def test_order(self) -> None:
        """What is due comes earliest first, no more than asked for, and once."""
        agenda = Agenda()
        for when, name in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (9.0, "z")):
            agenda.put(name, when)
        self.assertEqual(agenda.next(), 1.0)
        self.assertEqual(agenda.due(3.0, 2), ["a", "b"])
        self.assertEqual(agenda.due(3.0, 2), ["c"])
        self.assertEqual((agenda.due(3.0, 2), agenda.next(), len(agenda)), ([], 9.0, 1))

    def test_put_again(self) -> None:
        """What is put again is due then only, be it earlier or later; what is dropped never."""
        agenda = Agenda()
        agenda.put("a", 1.0)
        agenda.put("a", 5.0)
        agenda.put("b", 5.0)
        agenda.put("b", 1.0)
        agenda.put("c", 1.0)
        agenda.drop("c")
        agenda.drop("never there")
        self.assertEqual(agenda.due(4.0, 9), ["b"])
        self.assertEqual(agenda.due(5.0, 9), ["a"])
        self.assertIsNone(agenda.next())

    def test_bound(self) -> None:
        """Putting off again and again takes no more room than the names do."""
        agenda = Agenda()
        for when in range(10_000):
            agenda.put("a", float(when))
        self.assertLess(len(agenda._heap), 50)
        self.assertEqual(agenda.due(1e9, 9), ["a"])
