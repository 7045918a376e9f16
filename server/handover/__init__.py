"""A stream from one server to another: what is written down of it, and how it goes on."""
