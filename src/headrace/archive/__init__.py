"""The archive: what the log held, as compressed files by source and hour, and back."""
