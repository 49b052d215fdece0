DNS listeners on `0.0.0.0` and `[::]`, too, take queries that come together, and answer them, with one call into the kernel each way; every answer leaves from the address that was asked.
