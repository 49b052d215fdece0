"""What the kernel is asked and told: netlink. Knows nothing of pools and the site file."""
