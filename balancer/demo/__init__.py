"""Small servers for trying things out: something to balance where there is nothing else."""
