"""The toy world as a model: sprites on a grid, to watch a distilled student drift."""
