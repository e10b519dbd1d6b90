"""Settings from the environment: a module for each process, and for each subject that processes share."""
