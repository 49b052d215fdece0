"""Routes in the kernel and in other people's routers that follow a pool's verdicts."""
