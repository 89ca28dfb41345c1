import sys

from experiments.layer_geometry import main

sys.exit(main())
