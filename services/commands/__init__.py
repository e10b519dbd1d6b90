"""Command processing: one verdict or dead letter per record, appended with its events, a batch per transaction."""
