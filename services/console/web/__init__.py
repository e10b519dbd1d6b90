"""The console's web pages: FastAPI, Jinja2, server-sent events."""
