"""
What `[anycast NAME]` shows of itself: its part of the status, and its metrics.

Reads what it works with, and changes none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from balancer.interfaces import Metric, Sample
from balancer.route.anycast.announcer import STATES, UP, Announcer
from balancer.route.anycast.announcing import Announcing
from balancer.route.anycast.lastsite import LastSite
from balancer.route.anycast.settings import AnycastSettings
from balancer.route.anycast.station import Station

Labels = Mapping[str, str]


def status(work: Announcing, now: float) -> Mapping[str, Any]:
    """The section's part of the status, ready for JSON."""
    return {
        **state(work.announcer, now),
        "for": round(now - work.since, 1),
        "event": work.event,
        **asked_for(work.settings),
        "sites": sites(work.judge.others),
        "vip_fault": work.addresses.fault,
        "exabgp": work.station.status(),
        "bird": work.station.detection.status(),
        "neighbors": neighbors(work.settings, work.station),
    }


def metrics(work: Announcing, labels: Labels) -> list[Metric]:
    """All of the section's, with those labels."""
    return [
        *announcing(labels, work.announcer),
        *others(labels, work.judge.others),
        *exabgp(labels, work.settings, work.station),
    ]


def state(announcer: Announcer, now: float) -> Mapping[str, Any]:
    """Whether it is announced, and why not."""
    waits = announcer.until is not None and not announcer.announced
    return {
        "kind": "anycast",
        "state": announcer.state,
        "reason": announcer.reason,
        "announced_in": round(max(0.0, (announcer.until or now) - now), 1) if waits else None,
        "damped": announcer.damped,
        "withdrawals_total": announcer.withdrawals,
        "kept_total": announcer.kept,
    }


def asked_for(settings: AnycastSettings) -> Mapping[str, Any]:
    """What the site file says."""
    return {
        "when": [str(each) for each in settings.conditions],
        "prefixes": [str(each) for each in settings.prefixes],
        "lease": settings.lease,
        "vip_device": settings.vip_device,
        "last_site": settings.last_site,
    }


def sites(others: LastSite) -> Mapping[str, Any]:
    """What each other site said last."""
    return {
        f"http://{site}/": {"state": said.state, "up": said.up, "fault": said.fault}
        for site, said in others.said.items()
    }


def neighbors(settings: AnycastSettings, station: Station) -> Mapping[str, Any]:
    """Each neighbor's session, and how many routes ExaBGP has acknowledged for it."""
    routes = _routes(settings, station)
    return {
        line.address: {
            "as": line.asn,
            **_session(line.address, station),
            "routes": routes[line.address],
            "bfd": station.detection.of(line.address),
        }
        for line in settings.neighbors
    }


def _routes(settings: AnycastSettings, station: Station) -> dict[str, int]:
    counts = dict.fromkeys((line.address for line in settings.neighbors), 0)
    announced = set(station.wishes.report.announced)
    for key in settings.routes(UP):
        counts[key[0]] += key in announced
    return counts


def _session(address: str, station: Station) -> Mapping[str, Any]:
    session = station.exabgp.sessions.get(address)
    if session is None:
        last = "no route to it" if address in station.exabgp.unreachable else ""
        return {"established": False, "state": "unknown", "last_error": last}
    return {
        "established": session.state == "up",
        "state": session.state,
        "last_error": session.reason,
    }


def announcing(labels: Labels, announcer: Announcer) -> Iterator[Metric]:
    """Metrics of what is announced."""
    yield Metric(
        "balancer_anycast_state",
        "1 for the state that it is in.",
        "gauge",
        tuple(Sample({**labels, "state": each}, float(each == announcer.state)) for each in STATES),
    )
    yield Metric(
        "balancer_anycast_withdrawals",
        "How often the prefixes were withdrawn by the fault of what they stand for.",
        "counter",
        (Sample(labels, float(announcer.withdrawals)),),
    )
    yield Metric(
        "balancer_anycast_kept",
        "How often the prefixes stayed, or were again, announced without their service.",
        "counter",
        (Sample(labels, float(announcer.kept)),),
    )


def others(labels: Labels, others: LastSite) -> Iterator[Metric]:
    """Metrics of the other sites, if there are any."""
    if others.said:
        yield Metric(
            "balancer_anycast_site_up",
            "Whether the other site says that it is up: 1 or 0.",
            "gauge",
            tuple(
                Sample({**labels, "site": str(site)}, float(said.up))
                for site, said in others.said.items()
            ),
        )


def exabgp(labels: Labels, settings: AnycastSettings, station: Station) -> Iterator[Metric]:
    """Metrics of sessions, and of ExaBGP itself."""
    told = neighbors(settings, station)

    def samples(what: str) -> tuple[Sample, ...]:
        return tuple(
            Sample({**labels, "neighbor": address}, float(each[what]))
            for address, each in told.items()
        )

    yield Metric(
        "balancer_anycast_neighbor_up",
        "Whether the session with the neighbor is established: 1 or 0.",
        "gauge",
        samples("established"),
    )
    yield Metric(
        "balancer_anycast_routes",
        "Routes that ExaBGP has acknowledged for the neighbor.",
        "gauge",
        samples("routes"),
    )
    if settings.bfd is not None:
        yield Metric(
            "balancer_anycast_bfd_up",
            "Whether BFD with the neighbor is up: 1 or 0.",
            "gauge",
            tuple(
                Sample({**labels, "neighbor": address}, float(each["bfd"] == "up"))
                for address, each in told.items()
            ),
        )
    ours = station.exabgp.program
    starts = 0 if ours is None else ours.starts
    yield Metric(
        "balancer_anycast_exabgp_starts",
        "How often ExaBGP was started.",
        "counter",
        (Sample(labels, float(starts)),),
    )
