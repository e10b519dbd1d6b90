"""Sends due publications to the commands topic, and monitors the other schedules. Any number may run concurrently."""
