import sys

from experiments.endurance import main

sys.exit(main())
