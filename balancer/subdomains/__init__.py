"""A name of its own for each server of a pool, so that clients can be sent to it directly."""
