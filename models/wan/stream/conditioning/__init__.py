"""What steers a published student: one file a kind, and how kinds are put together."""
