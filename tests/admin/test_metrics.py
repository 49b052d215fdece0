"""What `/metrics` answers, read by prometheus_client's own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from balancer.admin.metrics import exposition
from balancer.interfaces import Metric, Sample

COUNTS = Metric("balancer_x", "Xs seen.", "counter", (Sample({"balancer": "a"}, 3.0),))
MORE = Metric("balancer_x", "Xs seen.", "counter", (Sample({"balancer": 'b"\\\n'}, 4.0),))
TIMES = Metric(
    "balancer_seconds",
    "Times.",
    "histogram",
    (
        Sample({"le": "0.1"}, 1.0, "_bucket"),
        Sample({"le": "+Inf"}, 2.0, "_bucket"),
        Sample({}, 0.75, "_sum"),
        Sample({}, 2.0, "_count"),
    ),
)


class Exposition(SynchronousTestCase):
    """The text format 0.0.4."""

    def setUp(self) -> None:
        text = exposition([COUNTS, TIMES, MORE]).decode()
        self.families = {family.name: family for family in text_string_to_metric_families(text)}

    def test_counter(self) -> None:
        """A counter's samples end in _total and keep their labels, whatever these contain."""
        samples = self.families["balancer_x"].samples
        self.assertEqual(
            [(each.name, each.labels["balancer"], each.value) for each in samples],
            [("balancer_x_total", "a", 3.0), ("balancer_x_total", 'b"\\\n', 4.0)],
        )

    def test_histogram(self) -> None:
        """A histogram has buckets, sum and count."""
        self.assertEqual(
            [
                each.name.removeprefix("balancer_seconds")
                for each in self.families["balancer_seconds"].samples
            ],
            ["_bucket", "_bucket", "_sum", "_count"],
        )

    def test_counter_named_total(self) -> None:
        """A counter that is already named _total does not get the ending twice."""
        text = exposition([Metric("balancer_y_total", "Ys.", "counter", (Sample({}, 1.0),))])
        self.assertIn(b"\nbalancer_y_total 1.0\n", text)
