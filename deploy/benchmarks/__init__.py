"""Benchmarks: compare the service, within one run, with the limits of the machine and with a library."""
