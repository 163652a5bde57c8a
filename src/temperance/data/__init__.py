"""Data: read tables, understand their columns, encode them as tensors, and split their rows.

The steps, each usable alone::

    frame = read_table("train.csv")                          # any file or frame, one plain pandas frame
    infer_columns(frame)                                     # what each column is taken for, with reasons
    target = TargetEncoder().fit(frame["income"])            # task, classes
    split = plan_split(target.encode(frame["income"])[0], target.task, seed=0)
    data, encoder, target = table_dataset(frame, "income", fit_rows=split.train)
    train = data.take(split.train)

Images likewise::

    images = read_images("photos/")                          # class folders, tables that list images, idx files, .npz
    encoder = ImageEncoder().fit(images, rows)               # mean and standard deviation of the training rows
    x = encoder.transform(images)                            # float32 (n, channels, height, width)

Arrays need none of it:

>>> import numpy as np
>>> import temperance as tp
>>> data = tp.data.as_dataset(np.zeros((4, 2)), np.array([0, 1, 1, 0]))
>>> len(data), data.task
(4, 'classification')
"""

from temperance.core.tangents import image_tangents
from temperance.data.columns import Column, describe_columns, infer_columns
from temperance.data.dataset import Dataset
from temperance.data.encode import TableEncoder
from temperance.data.encode_images import ImageEncoder
from temperance.data.images import Images
from temperance.data.make import as_dataset, row_weights, table_dataset
from temperance.data.read import read_table
from temperance.data.read_images import is_images, read_images
from temperance.data.splits import Split, bootstrap_rows, plan_split
from temperance.data.targets import TargetEncoder

__all__ = [
    "Column",
    "Dataset",
    "ImageEncoder",
    "Images",
    "Split",
    "TableEncoder",
    "TargetEncoder",
    "as_dataset",
    "bootstrap_rows",
    "describe_columns",
    "image_tangents",
    "infer_columns",
    "is_images",
    "plan_split",
    "read_images",
    "read_table",
    "row_weights",
    "table_dataset",
]
