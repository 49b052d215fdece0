"""Small built-in servers for trying things out."""
