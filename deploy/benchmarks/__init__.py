"""The benchmarks: what the service does, beside what the machine could do and what others do, in the same run."""
