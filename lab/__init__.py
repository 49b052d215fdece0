"""
The lab: a small internet in the kernel's namespaces, where real routers, balancers and clients run.

Knows the balancer as an operator does: by its site files, `twistd lb` and `lbctl`. Needs root.
"""
