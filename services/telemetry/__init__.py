"""What a process tells about itself: metrics, logs, traces."""

import services

VERSION = services.__version__
