import sys

from experiments.shape_search import main

sys.exit(main())
