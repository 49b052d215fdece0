DNS is compared with gdnsd, Knot DNS and NSD: the answers field by field (docs/dns-behaviour.md lists every difference and its reason), the CPU a query and large zones in `make bench`.
