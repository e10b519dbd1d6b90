"""What every process shares: start, health endpoints, server monitoring."""
