"""
What makes the lab's networks of namespaces: lines for `ip -batch`, and what a host sets up. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.topology import ROUTER, Host, Lab, Network, Router

CORE = "core"
"""The link between the routers, in both of them."""


def links(lab: Lab, pids: Mapping[str, int]) -> Iterator[str]:
    """Every link, each made into the two namespaces that it joins; `pids` has a process in each.

    In a router the port of a host has the host's name.
    """
    first, second = (each.name for each in lab.routers)
    yield _pair(CORE, pids[first], CORE, pids[second])
    for host in lab.hosts:
        router = lab.network(host.network).router
        yield _pair("eth0", pids[host.name], host.name, pids[router])


def _pair(name: str, pid: int, other: str, other_pid: int) -> str:
    return f"link add {name} netns {pid} type veth peer name {other} netns {other_pid}"


def router_lines(lab: Lab, router: Router) -> Iterator[str]:
    """For `ip -batch` in a router: a switch for each of its networks, and its addresses."""
    yield "link set lo up"
    yield f"address add {router.core}/24 dev {CORE}"
    yield f"link set {CORE} up"
    for network in lab.behind(router.name):
        # Ports forward as soon as they are up, or hosts would begin in the dark.
        yield f"link add {switch(network)} type bridge forward_delay 0"
        yield f"address add {network.gateway}/24 dev {switch(network)}"
        yield f"link set {switch(network)} up"
        for host in lab.hosts:
            if host.network == network.name:
                yield f"link set {host.name} master {switch(network)} up"


def switch(network: Network) -> str:
    """The name of a network's bridge."""
    return f"lan-{network.name}"


def host_lines(lab: Lab, host: Host) -> Iterator[str]:
    """For `ip -batch` in any other host."""
    network = lab.network(host.network)
    yield "link set lo up"
    yield f"address add {host.address}/24 dev eth0"
    yield "link set eth0 up"
    yield f"route add default via {network.gateway}"
    for prefix in host.carries:
        # A local route: the host answers to every address of the prefix.
        yield f"route add local {prefix} dev lo"


def lines(lab: Lab, name: str) -> list[str]:
    """For `ip -batch` in the machine of that name."""
    for router in lab.routers:
        if router.name == name:
            return list(router_lines(lab, router))
    return list(host_lines(lab, lab.host(name)))


SETTINGS: Mapping[str, str] = {
    # A packet may come by another way than the answer goes: that is what anycast and ECMP do.
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
}

FORWARDING: Mapping[str, str] = {
    "net/ipv4/ip_forward": "1",
    # Ports count too, or all connections of a client would take the same way.
    "net/ipv4/fib_multipath_hash_policy": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}


def settings(role: str) -> Mapping[str, str]:
    """What a machine of that role writes to /proc/sys."""
    return {**SETTINGS, **FORWARDING} if role in (ROUTER, "balancer") else SETTINGS
