"""One process that balances load at every layer, from one site file."""

__version__ = "0.1.0"
