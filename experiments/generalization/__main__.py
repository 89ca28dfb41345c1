import sys

from experiments.generalization import main

sys.exit(main())
