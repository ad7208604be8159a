"""`python -m celebbasis_ext.cli`."""

import sys

from celebbasis_ext.cli import main

sys.exit(main())
