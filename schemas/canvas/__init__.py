"""Response bodies of the HTTP API with Canvas's names and shapes (contract section 6).

Ids are integers, and strings for a client that accepts ``application/json+canvas-string-ids``. Fields that depend on
the caller are optional; additional fields are allowed.
"""
