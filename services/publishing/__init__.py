"""Turns rows of the log into records on topics, always a row into the same record, and compares topics with the log."""
