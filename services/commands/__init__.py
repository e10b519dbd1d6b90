"""What records of the commands topic come to: each its verdict or dead letter, and the events, in one append."""
