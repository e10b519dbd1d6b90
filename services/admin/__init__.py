"""What an administrator runs: accept a recreated commands topic, rewind the relay."""
