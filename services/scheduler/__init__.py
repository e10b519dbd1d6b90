"""Sends the publications that are due to the commands topic, and observes those that are not. Any number may run."""
