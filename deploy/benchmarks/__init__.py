"""Benchmarks: the service compared, within one run, with the limits of the machine and with a library."""
