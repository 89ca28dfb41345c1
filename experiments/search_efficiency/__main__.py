import sys

from experiments.search_efficiency import main

sys.exit(main())
