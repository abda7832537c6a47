"""`python -m experiments` is `dcgan-eval`."""

import sys

from experiments.cli import main

sys.exit(main())
