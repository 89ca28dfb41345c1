import sys

from experiments.critical_batch_size import main

sys.exit(main())
