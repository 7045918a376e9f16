"""The executors of one model side by side, and what a pipeline has to stand."""
