"""Entry of the Pulumi program: `main: infra` runs this folder with infra/ as the working folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from infra.program import main

main()
