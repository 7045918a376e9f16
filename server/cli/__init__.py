"""The `rollcast` command line: one file per command, wired in `app`."""
