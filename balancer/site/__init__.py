"""A site file becomes live objects: it reaches the kinds through plugins only."""
