"`python -m saerob` is the command `saerob`."
import sys

from saerob.app.cli import main

if __name__ == "__main__": sys.exit(main())
