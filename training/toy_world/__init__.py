"""A stochastic, branching, free-running video whose law is known exactly, and students of it."""
