"""Run the command line as ``python -m vec2slug_lib.cli``."""

import sys

from .main import main

sys.exit(main())
