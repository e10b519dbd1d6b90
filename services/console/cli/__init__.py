"""The operators' command line: ``python -m services.console.cli``. What the console shows and does, for scripts too.

Exit codes: 0 fine; 1 a finding, which is printed; 2 wrong usage or settings; 3 Kafka or PostgreSQL does not answer;
4 there is nothing of that name.
"""
