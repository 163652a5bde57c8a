"""``python -m temperance.docs``: the old way to write ``python -m tools.docs`` in a checkout."""

import runpy

if __name__ == "__main__":
    runpy.run_module("tools.docs", run_name="__main__")
