"""Payloads of the domain events, one class per name (contract section 5).

If Canvas audits the same fact, the payload is Canvas's: plain values at creation, ``[old, new]`` for changes. Values
that did not change or were not sent are left out; null is a value. Ids are decimal strings, scores numbers, times
RFC 3339 in milliseconds. Fields marked ``x-personal`` become null when their person is erased (``person_erased``).
"""
