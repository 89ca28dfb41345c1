import sys

from experiments.loss_prediction import main

sys.exit(main())
