"""Many servers as one: replicas on any number of machines, and gateways before them."""
