"""Ready networks: plain modules that also run as a population under ``torch.vmap``.

>>> import torch
>>> import temperance as tp
>>> tp.nets.MLP(4, 3, hidden=(16, 16))(torch.zeros(2, 4)).shape
torch.Size([2, 3])
"""

from temperance.nets.activations import ACTIVATIONS, activation
from temperance.nets.autoencoder import Autoencoder, Contraction, manifold_tangents
from temperance.nets.average import Average
from temperance.nets.conv import ConvNet
from temperance.nets.heads import MultiHead, TwoHeads
from temperance.nets.init import build_seeded, initialize, unreached
from temperance.nets.ladder import Corruption, LadderNet, Reconstruction
from temperance.nets.mlp import MLP
from temperance.nets.neighbors import NeighborNet
from temperance.nets.numbers import Periodic, PiecewiseLinear, quantile_edges
from temperance.nets.recurrent import GRUCell, LSTMCell, RecurrentNet, RNNCell
from temperance.nets.residual import Branch, Branches, Residual, ResidualNet
from temperance.nets.resnet import PreActivation, ResNet
from temperance.nets.shared import BatchEnsemble, BatchEnsembleLinear, TabM
from temperance.nets.tabular import CategoryEmbedding, ColumnScale, TableInputs, TabularNet, embedding_width

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Autoencoder",
    "Average",
    "BatchEnsemble",
    "BatchEnsembleLinear",
    "Branch",
    "Branches",
    "CategoryEmbedding",
    "ColumnScale",
    "Contraction",
    "ConvNet",
    "Corruption",
    "GRUCell",
    "LSTMCell",
    "LadderNet",
    "MultiHead",
    "NeighborNet",
    "Periodic",
    "PiecewiseLinear",
    "PreActivation",
    "RNNCell",
    "Reconstruction",
    "RecurrentNet",
    "ResNet",
    "Residual",
    "ResidualNet",
    "TabM",
    "TableInputs",
    "TabularNet",
    "TwoHeads",
    "activation",
    "build_seeded",
    "embedding_width",
    "initialize",
    "manifold_tangents",
    "quantile_edges",
    "unreached",
]
