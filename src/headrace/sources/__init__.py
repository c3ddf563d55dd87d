"""Sources: one file per platform, found by file name."""
