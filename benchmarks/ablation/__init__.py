"""The embedded model's weights under other sinks, windows, steps and caches."""
