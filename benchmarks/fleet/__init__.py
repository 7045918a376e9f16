"""The fleet under trial: a Ray cluster on this machine alone, viewers, and what is done to both."""
