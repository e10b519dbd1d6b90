"""What rows of the log are on the topics: the same row is always the same record."""
