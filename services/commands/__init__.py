"""From a record of the commands topic to its verdict or dead letter and its events, a batch per append."""
