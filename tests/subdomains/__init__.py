"""Tests of `balancer.subdomains`."""
