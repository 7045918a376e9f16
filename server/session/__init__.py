"""One viewer's stream as a state machine; free of I/O."""
