"""The operators' console: status, failures, repairs and assignments.

``web`` renders the pages, ``cli`` the operators' commands; the other modules do not depend on either.
"""
