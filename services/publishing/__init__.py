"""Turns rows of the log into records on topics, and compares topics with the log; the same row always gives the same
record."""
