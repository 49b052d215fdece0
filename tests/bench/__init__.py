"""Compares the balancer with nginx and HAProxy: the same core, load and run; ratios printed."""
