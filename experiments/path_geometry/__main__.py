import sys

from experiments.path_geometry import main

sys.exit(main())
