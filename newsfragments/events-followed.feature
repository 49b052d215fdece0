`lbctl events` also has what `[ecmp]` and `[anycast]` did, each with the number of the event that led to it.
