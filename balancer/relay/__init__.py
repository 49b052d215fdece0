"""The TCP and UDP balancers: they move bytes and read none of them."""
