"""The kind `tcp`: connections, byte for byte."""
