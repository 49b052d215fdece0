Request and answer heads and bodies are read strictly after RFC 9112: whatever two parties could read apart is refused with 400, or 502 for an answer.
