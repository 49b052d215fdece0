"""The Debian package, on a machine of the test's own. Needs root, and `make deb` before it."""
