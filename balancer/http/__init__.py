"""The HTTP balancer: knows neither the site nor the other kinds."""
