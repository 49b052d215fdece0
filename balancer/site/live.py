"""
The live objects of a site, and how a plan is put in force: everything is prepared first, which may
fail and changes nothing; then everything is committed, which cannot fail. The first plan and every
later one take the same way.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from balancer.admin.control_verbs import Desk
from balancer.admin.service import AdminService
from balancer.check.service import CheckService
from balancer.check.turnstile import Turnstile
from balancer.config.schema import Claim
from balancer.config.slices import Slices
from balancer.interfaces import (
    IBalancer,
    ICheck,
    IPrepared,
    IPreparedFromFiles,
    IPreparesInSlices,
    NoPrivilege,
    PrepareError,
)
from balancer.pool.events import Moved
from balancer.pool.pool import Pool
from balancer.pool.server import Server
from balancer.site.build import (
    Lines,
    build_pool,
    configuring,
    named,
    pool_settings,
    timing,
    trust_anew,
)
from balancer.site.context import Context, Parts
from balancer.site.control import ControlPort
from balancer.site.names import Named, Names, gather
from balancer.site.plan import BalancerPlan, Makers, Plan, PoolPlan
from balancer.site.sections import DEFAULT_CONTROL
from balancer.site.trusts import Trusts
from balancer.wire import room
from balancer.wire.bind import CannotBind

log = Logger()


EVENTS_A_SLICE: Final = 20
"""Events of a reload told in one slice: each takes some 0.3 ms, with its line in the log."""


@frozen
class PoolChange:
    """What is prepared for one pool: itself, its lines of servers, its check."""

    plan: PoolPlan
    pool: Pool
    lines: Lines
    check: ICheck | None


@define(eq=False)
class Live:
    """Pools, checks, balancers and the status API of a site. `site` holds the services of all."""

    context: Context
    makers: Makers
    site: Any
    names: Names
    desk: Desk
    trusts: Trusts = field(factory=Trusts, init=False)
    plan: Plan | None = field(default=None, init=False)
    balancers: dict[str, IBalancer] = field(factory=dict, init=False)
    checks: dict[str, CheckService] = field(factory=dict, init=False)
    admin: AdminService | None = field(default=None, init=False)
    control: ControlPort | None = field(default=None, init=False)
    turnstile: Turnstile = field(init=False)
    leaving: dict[str, IBalancer] = field(factory=dict, init=False)
    """Balancers that are no more in the site file, while they drain."""
    _holders: dict[IBalancer, MultiService] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.turnstile = Turnstile(self.context.reactor, room.checks())
        self.names.moved = self._moved

    def adopt(self, balancer: IBalancer) -> None:
        """
        Make it a part of the site. Each has a parent of its own: a service's name is its maker's
        business, and may be that of another that still drains.
        """
        holder = self._holders[balancer] = MultiService()
        balancer.setServiceParent(holder)
        holder.setServiceParent(self.site)

    def part_with(self, balancer: IBalancer) -> None:
        """Stop it; it is no part of the site any more."""
        self._holders.pop(balancer).disownServiceParent()

    def _moved(self, server: Server) -> None:
        pool = self.context.registry.pools.get(server.key.partition("/")[0])
        if pool is not None:
            pool.moved()
            self.context.publish(pool, [Moved(server.key, str(server.address))])

    def preparing(self, plan: Plan) -> Slices[Change]:
        """
        Make and open all that `plan` needs. Raises `CannotBind`, `PrepareError` or whatever a
        third party's balancer raises; nothing of what is in force was changed then.
        """
        change = Change(self, plan)
        try:
            yield from change.preparing()
        except BaseException:
            change.abandon()
            raise
        return change


@define(eq=False)
class Change:
    """A plan on its way into force. Exactly one of `commit` and `abandon` is called."""

    live: Live
    plan: Plan
    _bound: tuple[Claim, ...] = field(default=(), init=False)
    _control: ControlPort | None = field(default=None, init=False)
    _pools: dict[str, PoolChange] = field(factory=dict, init=False)
    _parts: Parts = field(init=False)
    _order: tuple[BalancerPlan, ...] = field(default=(), init=False)
    _prepared: list[IPrepared] = field(factory=list, init=False)
    _problems: list[str] = field(factory=list, init=False)
    """What `PrepareError`s said: all of it is told at once."""
    _only_privileges: bool = field(default=True, init=False)
    """Whether each of them was a `NoPrivilege`."""
    read_again: list[str] = field(factory=list, init=False)
    """What balancers found different in files."""
    _named: dict[str, list[Named]] = field(factory=dict, init=False)

    @_parts.default
    def _no_parts(self) -> Parts:
        return Parts(self.plan)

    # -- may fail

    def preparing(self) -> Slices[None]:
        """See `Live.preparing`."""
        live, context = self.live, self.live.context
        context.coming = self._parts
        self._bound = context.listeners.bind(self.plan.claims)
        self._control = self._prepare_control()
        if live.plan is None:
            live.names.use(self.plan.site.resolvers or ())
            # A reload must not wait for a resolver: it asks for new names once it is in force.
            servers = [line for pool in self.plan.pools for line in pool.settings.servers]
            live.names.look_up_now(line.endpoint for line in servers)
        now = context.reactor.seconds()
        for pool in self.plan.pools:
            change = self._pools[pool.name] = yield from self._preparing_pool(pool, now)
            self._parts.pools[pool.name] = change.pool
        for each in self.plan.balancers:
            yield
            balancer = live.balancers.get(each.key)
            self._parts.balancers[each.key] = self._make(each) if balancer is None else balancer
        self._order = self.plan.in_order()
        for each in self._order:
            yield
            balancer = self._parts.balancers[each.key]
            try:
                if IPreparesInSlices.providedBy(balancer):
                    prepared = yield from balancer.preparing(each.settings)
                else:
                    prepared = balancer.prepare(each.settings)
                self._prepared.append(prepared)
                if IPreparedFromFiles.providedBy(prepared):
                    self.read_again += prepared.changes()
            except PrepareError as error:
                self._wrong(error)
        if self._problems:
            kind = NoPrivilege if self._only_privileges else PrepareError
            raise kind("\n".join(self._problems))

    def _wrong(self, error: PrepareError) -> None:
        self._problems.append(str(error))
        self._only_privileges = self._only_privileges and isinstance(error, NoPrivilege)

    def _make(self, each: BalancerPlan) -> IBalancer:
        live = self.live
        try:
            return live.makers.balancers[each.kind].make(each.name, live.context)
        except Exception as error:
            # A third party's maker may raise anything; the operator needs to know whose it is.
            what = f"{type(error).__name__}: {error}"
            raise PrepareError(f"[{each.kind} {each.name}] cannot be made: {what}") from error

    def _preparing_pool(self, plan: PoolPlan, now: float) -> Slices[PoolChange]:
        registry = self.live.context.registry
        present = registry.pools.get(plan.name)
        trust = None
        try:
            trust = self.live.trusts.context(plan)
        except PrepareError as error:
            self._wrong(error)
        lines = yield from configuring(plan, self.live.names.address, trust)
        yield
        pool = build_pool(plan, lines.servers, now) if present is None else present
        check = None if plan.check is None else plan.check(self.live.context)
        return PoolChange(plan, pool, lines, check)

    def abandon(self) -> None:
        """Drop everything that was prepared."""
        for prepared in self._prepared:
            prepared.abandon()
        if self._control is not None and self._control is not self.live.control:
            self._control.close()
        self.live.context.listeners.release(self._bound)
        self.live.context.coming = None

    # -- cannot fail

    def committing(self) -> Slices[None]:
        """
        Put the plan in force: pool by pool between other work, and then all that uses them at once.
        """
        for change in self._pools.values():
            yield
            yield from self._commit_pool(change)
        for change in self._pools.values():
            yield
            gather(named(change.plan, change.lines, change.pool), self._named)
        yield

    def commit(self) -> None:
        """The last step of `committing`, in one turn."""
        live, context = self.live, self.live.context
        # Who is connected to a listener that goes is served.
        context.listeners.accept_waiting()
        balancers = self._parts.balancers
        gone = {key: each for key, each in live.balancers.items() if key not in balancers}
        for name in live.checks.keys() - self._pools.keys():
            live.checks.pop(name).disownServiceParent()
        context.registry.know(
            self._parts.pools,
            {balancer.key: balancer.pools for balancer in self.plan.balancers},
        )
        context.present, context.coming = self._parts, None
        for prepared in self._prepared:
            prepared.commit()
        for each in self._order:
            if each.key not in live.balancers:
                live.adopt(balancers[each.key])
        live.balancers = dict(balancers)
        for key, balancer in gone.items():
            self._retire(key, balancer)
        self._commit_admin()
        self._commit_control()
        context.listeners.keep(self.plan.claims)
        live.trusts.keep(self.plan.pools)
        live.names.use(self.plan.site.resolvers or ())
        live.names.follow(self._named)
        live.plan = self.plan

    def _commit_pool(self, change: PoolChange) -> Slices[None]:
        context = self.live.context
        now = context.reactor.seconds()
        name, pool = change.plan.name, change.pool
        trust_anew(pool, change.lines.servers)
        events = pool.reconfigure(pool_settings(change.plan), change.lines.servers, now)
        if change.check is None:
            events = [*events, *pool.trust_all(now, down_too=True)]
        # Each goes to all subscribers and to the log: thousands at once take seconds.
        for at in range(0, len(events), EVENTS_A_SLICE):
            context.publish(pool, events[at : at + EVENTS_A_SLICE])
            yield
        self._commit_check(name, change)

    def _commit_check(self, name: str, change: PoolChange) -> None:
        live, context = self.live, self.live.context
        service = live.checks.get(name)
        if change.check is None:
            if service is not None:
                live.checks.pop(name).disownServiceParent()
        elif service is not None:
            service.update(change.check, timing(change.plan))
        else:
            live.checks[name] = service = CheckService(
                context.reactor,
                change.pool,
                change.check,
                timing(change.plan),
                context.publish,
                random.Random(),
                turnstile=live.turnstile,
            )
            service.setServiceParent(live.site)

    def _commit_admin(self) -> None:
        live, where = self.live, self.plan.site.admin
        if live.plan is not None and live.plan.site.admin == where:
            return
        if live.admin is not None:
            live.admin.disownServiceParent()
            live.admin = None
        if where is not None:
            live.admin = AdminService(live.site, live.context.listener(where.host, where.port))
            live.admin.setServiceParent(live.site)

    def _prepare_control(self) -> ControlPort | None:
        live, path = self.live, self.plan.site.control
        if live.control is not None and live.control.path == path:
            return live.control
        if path is None:
            return None
        try:
            return ControlPort.bind(live.context.reactor, path)
        except CannotBind as error:
            if path != DEFAULT_CONTROL:
                raise
            # Nobody asked for this path; a second balancer in the same directory works without.
            log.warn("lbctl has no way in: {error}; set control in [site]", error=error)
            return None

    def _commit_control(self) -> None:
        live, new = self.live, self._control
        old, live.control = live.control, new
        if old is new:
            return
        if old is not None:
            old.retire(new)
        if new is not None and new.service is None:
            new.serve(live.desk).setServiceParent(live.site)

    def _retire(self, key: str, balancer: IBalancer) -> None:
        """It accepts no more, finishes what it has within `drain-timeout`, and ends."""
        live = self.live
        key = f"{key} (removed, {id(balancer):x})"
        live.leaving[key] = balancer
        ended = drained(live.context.reactor, {key: balancer}, self.plan.site.drain_timeout)

        def end(_: object) -> None:
            del live.leaving[key]
            live.part_with(balancer)

        ended.addCallback(end)


def drained(
    reactor: IReactorTime, balancers: Mapping[str, IBalancer], timeout: float
) -> Deferred[None]:
    """Drain them; fires when all are done, or after `timeout` seconds. One that fails is logged."""
    done: Deferred[None] = Deferred()
    late = reactor.callLater(timeout, done.callback, None)

    def finished(_: object) -> None:
        if late.active():
            late.cancel()
            done.callback(None)

    drains = [each.drain().addErrback(_failed, key) for key, each in balancers.items()]
    DeferredList(drains).addCallback(finished)
    return done


def _failed(failure: Failure, key: str) -> None:
    log.failure("{balancer} could not be drained", failure=failure, balancer=key)
