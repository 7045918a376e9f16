"""Those who watch one stream and do not steer it, as a state machine without I/O."""
