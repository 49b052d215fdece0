"""balancer-setup."""
