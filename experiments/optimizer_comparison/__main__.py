import sys

from experiments.optimizer_comparison import main

sys.exit(main())
