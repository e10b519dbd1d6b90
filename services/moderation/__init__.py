"""The rules of moderated grading: pure functions and records, nothing but the standard library."""
