A reload probes new servers at once, forgets removed ones, and takes on another check or interval without a burst and without losing a verdict.
