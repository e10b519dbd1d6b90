"""The operators' commands of ``moderated-grading``: the console's functions in a terminal and for scripts."""
