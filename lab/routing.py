"""
The routers' configurations, for BIRD 2 and for FRR. Pure.

Both do the same: BGP with each balancer behind them and with each other, routes of equal worth side
by side in the kernel, and routes of a balancer that is silent for a moment kept (graceful restart,
RFC 4724). They take the anycast address and the sites' service prefixes, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology import BALANCER, Host, Lab, Router

HOLD = 3
"""Seconds of silence after which a neighbor is dead; the least that BGP has."""

ACCEPTED = ("192.0.2.0/24", "198.51.100.0/24")
"""Where balancers may announce prefixes from."""


def balancers_of(lab: Lab, router: Router) -> Iterator[tuple[Host, int]]:
    """The balancers behind a router, with the AS number of their site."""
    for network in lab.behind(router.name):
        for host in lab.of_role(BALANCER, network.name):
            yield host, lab.site(network.name).asn


def other(lab: Lab, router: Router) -> Router:
    """The one at the end of the link between the two."""
    return next(each for each in lab.routers if each.name != router.name)


BIRD = """\
# {name}, AS {asn}: made by the lab.
router id {core};
log "bird.log" all;
protocol device {{ }}

# Our own networks are told to the other router.
protocol direct {{ ipv4; interface "lan-*"; }}

# Routes of equal worth go side by side into the kernel.
protocol kernel {{ ipv4 {{ export where source != RTS_DEVICE; }}; merge paths on; }}

protocol bgp {other} {{
    local {core} as {asn};
    neighbor {other_core} as {other_as};
    hold time {hold};
    connect retry time 1; error wait time 1, 4;
    ipv4 {{ next hop self; import all; export all; }};
}}

filter from_balancers {{
    if net ~ [ {accepted} ] then accept;
    reject;
}}
"""

BIRD_BALANCER = """
protocol bgp {name} {{
    local {gateway} as {asn};
    neighbor {address} as {site_as};
    passive;
    hold time {hold};
    # Whoever was lost may be back soon; BIRD's own patience is a minute and more.
    error wait time 1, 4;
    graceful restart on;{more}
    ipv4 {{ import filter from_balancers; export none; }};
}}
"""


def bird(lab: Lab, router: Router, bfd: str = "") -> str:
    """bird.conf. With `bfd` (`interval 50 ms; multiplier 3;`) sessions with balancers end when BFD
    says so."""
    far = other(lab, router)
    text = BIRD.format(name=router.name, asn=router.asn, core=router.core, other=far.name,
                       other_core=far.core, other_as=far.asn, hold=HOLD,
                       accepted=", ".join(f"{each}+" for each in ACCEPTED))
    if bfd:
        text += f"\nprotocol bfd {{ interface \"lan-*\" {{ {bfd} }}; }}\n"
    for host, site_as in balancers_of(lab, router):
        text += BIRD_BALANCER.format(
            name=host.name, gateway=lab.network(host.network).gateway, asn=router.asn,
            address=host.address, site_as=site_as, hold=HOLD, more=" bfd on;" if bfd else "")
    return text


FRR = """\
! {name}, AS {asn}: made by the lab.
hostname {name}
router bgp {asn}
 bgp router-id {core}
 no bgp ebgp-requires-policy
 bgp graceful-restart
 timers bgp 1 {hold}
 neighbor {other_core} remote-as {other_as}
 neighbor {other_core} timers connect 1
"""


def frr(lab: Lab, router: Router) -> str:
    """bgpd.conf. The other daemon, zebra, needs none."""
    far = other(lab, router)
    text = FRR.format(name=router.name, asn=router.asn, core=router.core, hold=HOLD,
                      other_core=far.core, other_as=far.asn)
    hosts = list(balancers_of(lab, router))
    for host, site_as in hosts:
        text += f" neighbor {host.address} remote-as {site_as}\n"
        text += f" neighbor {host.address} passive\n"
    text += " address-family ipv4 unicast\n"
    text += "".join(f"  network {each.prefix}\n" for each in lab.behind(router.name))
    text += f"  neighbor {far.core} next-hop-self\n"
    for host, _ in hosts:
        text += f"  neighbor {host.address} prefix-list from-balancers in\n"
        text += f"  neighbor {host.address} prefix-list nothing out\n"
    text += " exit-address-family\n!\n"
    for number, prefix in enumerate(ACCEPTED, 1):
        text += f"ip prefix-list from-balancers seq {number} permit {prefix} le 32\n"
    return text + "ip prefix-list nothing seq 1 deny any\n"
