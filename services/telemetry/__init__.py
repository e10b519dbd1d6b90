"""What a process tells about itself: metrics, logs, traces."""

VERSION = "0.1.0"
