import sys

from experiments.throughput import main

sys.exit(main())
