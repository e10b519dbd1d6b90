"""The console's pages: FastAPI, Jinja2, server-sent events. They render what the rooms beside them say."""
