"""``python -m secondcoder``: the command line, where a launcher wants a module.

In: what the user typed. Out: as ``secondcoder``.
"""

from secondcoder.cli.main import main

if __name__ == "__main__":
    main()
