"""What deploy/ is made of: local servers, the stack and its supervisor, the demo, the benchmarks."""
