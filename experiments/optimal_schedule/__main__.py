import sys

from experiments.optimal_schedule import main

sys.exit(main())
