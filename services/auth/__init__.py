"""Bearer tokens: JWTs verified against a JWK set, and signed by the service's own processes."""
