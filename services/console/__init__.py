"""The process that operators look at and repair with: ``python -m services.console``.

Its rooms know nothing of pages: ``now`` (watched live), ``failures``, ``redriving``, ``assignments``, ``topics``. The
pages render what they return.
"""
