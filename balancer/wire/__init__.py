"""How bytes move: knows nothing of HTTP, pools or the site file."""
