"""Published models as values: one file a family, each with a tuple `PRESETS`."""
