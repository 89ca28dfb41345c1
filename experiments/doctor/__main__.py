import sys

from experiments.doctor import main

sys.exit(main())
