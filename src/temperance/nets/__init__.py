"""Ready networks: plain modules that also run as a population under ``torch.vmap``."""

from temperance.nets.activations import ACTIVATIONS, activation
from temperance.nets.average import Average
from temperance.nets.conv import ConvNet
from temperance.nets.heads import MultiHead, TwoHeads
from temperance.nets.init import build_seeded, initialize, unreached
from temperance.nets.mlp import MLP
from temperance.nets.numbers import Periodic, PiecewiseLinear, quantile_edges
from temperance.nets.recurrent import GRUCell, LSTMCell, RecurrentNet, RNNCell
from temperance.nets.tabular import CategoryEmbedding, TableInputs, TabularNet, embedding_width

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Average",
    "CategoryEmbedding",
    "ConvNet",
    "GRUCell",
    "LSTMCell",
    "MultiHead",
    "Periodic",
    "PiecewiseLinear",
    "RNNCell",
    "RecurrentNet",
    "TableInputs",
    "TabularNet",
    "TwoHeads",
    "activation",
    "build_seeded",
    "embedding_width",
    "initialize",
    "quantile_edges",
    "unreached",
]
