"""How many streams a device serves: measured with the real server, and forecast."""
