"""``python -m meetmid``."""

import sys

from meetmid.cli import main

sys.exit(main())
