"""Write scikit-learn's handwritten digits to a CSV file: 1,797 images of 8 x 8 pixels, and the digit each shows."""

import sys
from pathlib import Path

from sklearn.datasets import load_digits

if len(sys.argv) != 2:
    sys.exit("usage: python docs/demo_data.py FILE.csv")
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
partial = path.with_suffix(".partial")
load_digits(as_frame=True).frame.astype(int).rename(columns={"target": "digit"}).to_csv(partial, index=False)
partial.replace(path)
