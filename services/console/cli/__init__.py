"""The operators' commands of ``moderated-grading``: what the console shows and does, in a terminal and for scripts."""
