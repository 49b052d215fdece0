"""The trial suite: it mirrors `balancer/`; `live` needs real peers, `bench` compares with them."""
