"""What ganeval costs, beside its peers and beside the machine's own limit: ``python -m benchmarks``."""
