"""From what the kernel has to what it should have."""

from __future__ import annotations

import random
from collections.abc import Sequence

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.kernel.nexthop import Group, Hop, Other, Resilient
from balancer.kernel.route import Route
from balancer.route.ecmp import (
    Conflict,
    Desired,
    Drop,
    DropRoute,
    Present,
    PutGroup,
    PutHop,
    PutRoute,
    Step,
    Target,
    command,
    done,
    in_use,
    shares,
    steps,
)
from balancer.route.settings import IDS_A_SLOT, MAX_HOPS

FIRST = 0x20000000
RESILIENT = Resilient(128, 60.0, 0.0)


def desired(addresses: str, resilient: Resilient | None = RESILIENT, **others: object) -> Desired:
    """What wants next hops at 10.1.0.N on link 3; `a2` is of weight 2."""
    targets = [
        Target(f"10.1.0.{ord(word[0]) - ord('a') + 1}", 3, int(word[1:] or 1))
        for word in addresses.split()
    ]
    found = Desired("192.0.2.0/24", 254, 196, resilient, tuple(targets))
    return evolve(found, **others)  # type: ignore[arg-type]  # fields of it


class UsedTwice(Exception):
    """The steps leave the kernel without what it still needs."""


def carry_out(found: Sequence[Step], present: Present) -> None:
    """As the kernel does it: refuses what is not sound."""
    for step in found:
        if isinstance(step, PutHop):
            assert step.replace == (step.hop.id in present.hops), step
            assert step.hop.id not in present.taken
        elif isinstance(step, PutGroup):
            old = present.groups.get(step.group.id)
            assert all(id in present.hops for id, _ in step.group.hops), step
            assert old is None or _shape(old) == _shape(step.group), step
            assert step.group.id not in present.taken
        elif isinstance(step, PutRoute):
            assert step.route.through in present.groups, step
            where = (step.route.prefix, step.route.table)
            assert step.replace == (where in present.routes), step
        elif isinstance(step, Drop):
            through = {each.through for each in present.routes.values()}
            used = {id for group in present.groups.values() for id, _ in group.hops}
            assert step.id not in through | used, step
        done(step, present)


def _shape(group: Group) -> int | None:
    return None if group.resilient is None else group.resilient.buckets


class StepsTests(SynchronousTestCase):
    """One section's route."""

    def setUp(self) -> None:
        self.present = Present(FIRST)

    def follow(self, wanted: Desired) -> list[Step]:
        """Make it so; what was done."""
        found = steps(wanted, self.present)
        carry_out(found, self.present)
        self.assertEqual(steps(wanted, self.present), [])
        return found

    def kinds(self, wanted: Desired) -> str:
        """The names of the steps."""
        return " ".join(type(each).__name__ for each in self.follow(wanted))

    def test_from_nothing(self) -> None:
        """Next hops come first, then the group, then the route; twice is once."""
        self.assertEqual(self.kinds(desired("a b")), "PutHop PutHop PutGroup PutRoute")
        self.assertEqual(sorted(in_use(desired(""), self.present), key=str),
                         list(desired("a b").targets))

    def test_one_leaves(self) -> None:
        """The group is replaced before the next hop goes, and the route is not touched."""
        self.follow(desired("a b c"))
        self.assertEqual(self.kinds(desired("a c")), "PutGroup Drop")
        self.assertEqual(self.kinds(desired("a b c")), "PutHop PutGroup")

    def test_one_for_another(self) -> None:
        """A server at a new address takes the place of the old one in one change of the group."""
        self.follow(desired("a b"))
        self.assertEqual(self.kinds(desired("a d")), "PutHop PutGroup Drop")

    def test_ids(self) -> None:
        """An address gets the same id each time, whoever came before; an id that is used is not
        given again."""
        self.follow(desired("a b c"))
        before = {hop.gateway: id for id, hop in self.present.hops.items()}
        self.follow(desired("", None))
        self.follow(desired("c b a"))
        self.assertEqual({hop.gateway: id for id, hop in self.present.hops.items()}, before)
        taken = Present(FIRST, taken=set(before.values()))
        carry_out(steps(desired("a b c"), taken), taken)
        self.assertFalse(set(taken.hops) & set(before.values()))
        for id in taken.hops:
            self.assertIn(id, range(FIRST + 2, FIRST + 2 + MAX_HOPS))

    def test_adopted(self) -> None:
        """What another process left is gone on from, whatever ids and order it has."""
        for id, gateway in ((FIRST + 9, "10.1.0.1"), (FIRST + 5, "10.1.0.2")):
            self.present.see(Hop(id, gateway, 3, 196), {196})
        pairs = ((FIRST + 9, 1), (FIRST + 5, 1))
        self.present.see(Group(FIRST + 1, pairs, 196, RESILIENT), {196})
        route = Route("192.0.2.0/24", 254, FIRST + 1, 196)
        self.present.see_route(route, {196}, ("192.0.2.0/24", 254))
        self.assertEqual(steps(desired("a b"), self.present), [])

    def test_weights(self) -> None:
        """Another weight is one change of the group."""
        self.follow(desired("a b"))
        self.assertEqual(self.kinds(desired("a b3")), "PutGroup")
        self.assertEqual([weight for _, weight in self.present.groups[FIRST].hops].count(3), 1)

    def test_shares(self) -> None:
        """Weights keep their proportions within what the kernel takes; nobody's becomes none."""
        self.assertEqual(shares([10, 20]), [1, 2])
        self.assertEqual(shares([2560, 10]), [256, 1])
        self.assertEqual(shares([2560, 7]), [256, 1])
        self.assertEqual(shares([7]), [1])
        self.assertEqual(shares([]), [])

    def test_other_timers(self) -> None:
        """Timers change in place."""
        self.follow(desired("a b"))
        self.assertEqual(self.kinds(desired("a b", Resilient(128, 5.0, 9.0))), "PutGroup")

    def test_other_group(self) -> None:
        """What the kernel refuses to change in place is changed by a second group, which takes the
        route over before the first one goes; and back."""
        self.follow(desired("a b"))
        for resilient in (None, Resilient(64, 60.0, 0.0), RESILIENT):
            found = self.kinds(desired("a b", resilient))
            self.assertEqual(found, "PutGroup PutRoute Drop")

    def test_other_prefix_and_table(self) -> None:
        """The new route is there before the old one goes."""
        self.follow(desired("a"))
        self.assertEqual(self.kinds(desired("a", table=100)), "PutRoute DropRoute")
        self.assertEqual(self.kinds(desired("a", prefix="198.51.100.0/24")), "PutRoute DropRoute")

    def test_other_protocol(self) -> None:
        """Another protocol number is given to all in place."""
        self.follow(desired("a b"))
        self.assertEqual(self.kinds(desired("a b", protocol=77)),
                         "PutHop PutHop PutGroup PutRoute")

    def test_withdrawn(self) -> None:
        """Nothing is left, and what uses others goes first."""
        self.follow(desired("a b"))
        self.assertEqual(self.kinds(desired("")), "DropRoute Drop Drop Drop")
        self.assertEqual((self.present.hops, self.present.groups, self.present.routes),
                         ({}, {}, {}))

    def test_taken_over(self) -> None:
        """A route that goes through another section's group by now is not removed with ours."""
        self.follow(desired("a"))
        where = ("192.0.2.0/24", 254)
        self.present.routes[where] = Route(*where, FIRST + IDS_A_SLOT, 196)
        self.assertEqual(self.kinds(desired("")), "Drop Drop")

    def test_others(self) -> None:
        """What has another protocol number, is of another kind or beyond our ids is not ours."""
        own = ("192.0.2.0/24", 254)
        self.present.see(Hop(FIRST + 3, "10.1.0.1", 3, 3), {196})
        self.present.see(Other(FIRST + 4, 196), {196})
        self.present.see(Hop(FIRST + IDS_A_SLOT, "10.1.0.1", 3, 196), {196})
        self.present.see(Group(FIRST - 1, (), 196), {196})
        self.present.see_route(Route(*own, FIRST, 3), {196}, own)
        self.present.see_route(Route("198.51.100.0/24", 254, 9, 196), {196}, own)
        self.assertEqual(self.present, Present(FIRST, taken={FIRST + 3, FIRST + 4}))
        self.present.see_route(Route(*own, 0, 196), {196}, own)
        self.assertEqual(self.kinds(desired("a")), "PutHop PutGroup PutRoute")

    def test_reclaimed(self) -> None:
        """A route that somebody put in place of ours is replaced, once."""
        self.present.reclaim = True
        found = steps(desired("a"), self.present)
        self.assertTrue(isinstance(found[-1], PutRoute) and found[-1].replace)
        for step in found:
            done(step, self.present)
        self.assertFalse(self.present.reclaim)

    def test_conflict(self) -> None:
        """When others have all of our ids, this is said with the ids."""
        self.present.taken = {FIRST, FIRST + 1}
        error = self.assertRaises(Conflict, steps, desired("a"), self.present)
        self.assertIn(str(FIRST), str(error))
        self.present.taken = set(range(FIRST + 2, FIRST + IDS_A_SLOT))
        self.assertRaises(Conflict, steps, desired("a"), self.present)

    def test_commands(self) -> None:
        """Each step as the `ip` command that does it."""
        self.follow(desired("a"))
        found = [*steps(desired("b2 c", Resilient(128, 0.5, 9.0)), self.present),
                 PutHop(Hop(7, "fe80::1", 3, 196), True), PutGroup(Group(8, ((7, 1),), 9)),
                 PutRoute(Route("::/0", 254, 8, 9), True), DropRoute(Route("::/0", 9, 0, 9))]
        ids = {step.hop.gateway: step.hop.id for step in found if isinstance(step, PutHop)}
        b, c = ids["10.1.0.2"], ids["10.1.0.3"]
        old = next(id for id, hop in self.present.hops.items() if hop.gateway == "10.1.0.1")
        pairs = "/".join(f"{id}{share}" for id, share in sorted(((b, ",2"), (c, ""))))
        self.assertEqual([command(step, lambda index: f"eth{index}") for step in found], [
            f"ip nexthop add id {b} via 10.1.0.2 dev eth3 protocol 196",
            f"ip nexthop add id {c} via 10.1.0.3 dev eth3 protocol 196",
            f"ip nexthop replace id {FIRST} group {pairs} type resilient buckets 128 "
            "idle_timer 0.5 unbalanced_timer 9 protocol 196",
            f"ip nexthop del id {old}",
            "ip nexthop replace id 7 via fe80::1 dev eth3 protocol 196",
            "ip nexthop replace id 8 group 7 protocol 9",
            "ip route replace ::/0 nhid 8 table 254 protocol 9",
            "ip route del ::/0 table 9 protocol 9",
        ])

    @given(st.integers(0, 2**32), st.integers(1, 6))
    def test_any_way(self, seed: int, changes: int) -> None:
        """From anything to anything else: each step is one that the kernel takes, the prefix never
        goes without a route between two that have next hops, and nothing is left over."""
        chance = random.Random(seed)
        self.present = Present(FIRST)
        for _ in range(changes):
            words = chance.sample("abcdef", chance.randint(0, 4))
            wanted = desired(
                " ".join(f"{word}{chance.randint(1, 3)}" for word in words),
                chance.choice((None, RESILIENT, Resilient(64, 1.0, 0.0))),
                protocol=chance.choice((196, 77)),
            )
            had, where = bool(self.present.routes), (wanted.prefix, wanted.table)
            for step in steps(wanted, self.present):
                carry_out([step], self.present)
                self.assertTrue(not had or not words or where in self.present.routes)
            self.assertEqual(steps(wanted, self.present), [])
            self.assertEqual(len(self.present.hops), len(words))
            self.assertEqual(len(self.present.groups), bool(words))
