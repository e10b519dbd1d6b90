"""What all processes share: start, health endpoints, monitoring of servers, errors, HTTP."""
