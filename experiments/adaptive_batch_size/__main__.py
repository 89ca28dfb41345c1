import sys

from experiments.adaptive_batch_size import main

sys.exit(main())
