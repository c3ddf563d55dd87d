"""headrace brings Segment-style events into a team's own warehouse, each exactly once."""

__version__ = "0.1.0"
