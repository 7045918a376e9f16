"""The real server under real viewers."""
