"""Write scikit-learn's handwritten digits to an .npz file: 200 images of 8 x 8 pixels to train on, the other 1,597 to be scored on."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if len(sys.argv) != 2:
    sys.exit("usage: python docs/demo_data.py FILE.npz")
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
partial = path.with_suffix(".partial.npz")
digits = load_digits()
rows = np.arange(len(digits.target))
train, test = train_test_split(rows, train_size=200, random_state=0, stratify=digits.target)
images = digits.images.astype(np.uint8)
np.savez(partial, x_train=images[train], y_train=digits.target[train], x_test=images[test], y_test=digits.target[test])
partial.replace(path)
