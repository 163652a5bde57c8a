"""What stands around the regularizers: protocols, optimizers, schedules, networks, diagnoses and losses, as rows of the catalogue."""

from __future__ import annotations

from temperance.catalogue.entry import Entry

_RETRAIN = """{what}

When: the stopping point was found on validation rows, and these are to be learned from too.

Usage: ``tp.fit(..., retrain="{name}")``; a search retrains its winner with ``same_epochs``.

Reference: Goodfellow et al. (2016), Deep learning, section 7.8.
"""
_GOODFELLOW = "Goodfellow et al. 2016"

ENTRIES: tuple[Entry, ...] = (
    Entry("EarlyStopping", "protocol", "6 early stopping", "temperance.train.stopping:EarlyStopping", "Prechelt 1998"),
    Entry(
        "same_epochs",
        "protocol",
        "6 retraining",
        module="temperance.train.retrain",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(name="same_epochs", what="Trains again on all rows, for as many passes over them as the best state had made."),
    ),
    Entry(
        "same_steps",
        "protocol",
        "6 retraining",
        module="temperance.train.retrain",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(name="same_steps", what="Trains again on all rows, for as many steps as the best state had made."),
    ),
    Entry(
        "until_train_loss",
        "protocol",
        "6 retraining",
        module="temperance.train.retrain",
        reference=_GOODFELLOW,
        text=_RETRAIN.format(
            name="until_train_loss",
            what="Goes on from the best state with all rows, until the loss on the former validation rows falls to the training loss there; capped, as that "
            "may never happen.",
        ),
    ),
    Entry("per_layer", "protocol", "1 per-layer strengths", "temperance.core.per_layer:per_layer", "Goodfellow et al. 2016"),
    Entry("per_row", "protocol", "1 MAP reading", "temperance.core.prior:per_row", "Nielsen 2015"),
    Entry("bagging", "protocol", "5 bagging", "temperance.train.bagging:bootstrap", "Breiman 1996"),
    Entry("folds", "protocol", "8 validation", "temperance.train.bagging:folds", "Stone 1974"),
    Entry("snapshots", "protocol", "5 snapshots", "temperance.ensemble.snapshots:snapshots", "Huang et al. 2017"),
    Entry("combine", "protocol", "5 vote and mean", "temperance.train.bagging:combine", "Hansen & Salamon 1990"),
    Entry("monte_carlo", "protocol", "2 Monte-Carlo dropout", "temperance.train.monte_carlo:monte_carlo", "Gal & Ghahramani 2016"),
    Entry("greedy selection", "protocol", "5 greedy selection", "temperance.ensemble.selection:choose", "Caruana et al. 2004"),
    Entry("Curriculum", "protocol", "7 curriculum", "temperance.train.curriculum:Curriculum", "Bengio et al. 2009"),
    Entry("least_squares", "protocol", "7 coordinate descent", "temperance.train.least_squares:least_squares", "Friedman, Hastie & Tibshirani 2010"),
    Entry("pretrain", "protocol", "4 pre-training", "temperance.train.pretrain:pretrain", "Bengio et al. 2007; Vincent et al. 2010"),
    Entry("manifold_tangents", "protocol", "3 tangent methods", "temperance.nets:manifold_tangents", "Rifai et al. 2011"),
    Entry("image_tangents", "protocol", "3 tangent methods", "temperance.core.tangents:image_tangents", "Simard, LeCun & Denker 1993"),
    Entry("learning_curve", "protocol", "3 more data", "temperance.train.curves:learning_curve", "Nielsen 2015"),
    Entry("validation_curve", "protocol", "8 strength curves", "temperance.train.curves:validation_curve", "Goodfellow et al. 2016"),
    Entry("SGD", "optimizer", "7 SGD, momentum", "temperance.train.optimizers:SGD"),
    Entry("Adam", "optimizer", "7 Adam", "temperance.train.optimizers:Adam"),
    Entry("AdamW", "optimizer", "7 AdamW", "temperance.train.optimizers:AdamW"),
    Entry("AdaGrad", "optimizer", "7 AdaGrad", "temperance.train.optimizers:AdaGrad"),
    Entry("RMSProp", "optimizer", "7 RMSProp", "temperance.train.optimizers:RMSProp"),
    Entry("NAdam", "optimizer", "7 NAdam", "temperance.train.optimizers:NAdam"),
    Entry("Adadelta", "optimizer", "7 Adadelta", "temperance.train.optimizers:Adadelta"),
    Entry("DeltaBarDelta", "optimizer", "7 delta-bar-delta", "temperance.train.optimizers:DeltaBarDelta"),
    Entry("BlockDescent", "optimizer", "7 coordinate descent", "temperance.train.optimizers:BlockDescent"),
    Entry("Muon", "optimizer", "outside the catalogue", "temperance.train.optimizers:Muon"),
    Entry("Constant", "schedule", "7 schedules", "temperance.core.schedule:Constant"),
    Entry("Cosine", "schedule", "7 schedules", "temperance.core.schedule:Cosine", "Loshchilov & Hutter 2017"),
    Entry("FlatCosine", "schedule", "7 schedules", "temperance.core.schedule:FlatCosine"),
    Entry("Linear", "schedule", "7 schedules", "temperance.core.schedule:Linear"),
    Entry("Restarts", "schedule", "7 schedules", "temperance.core.schedule:Restarts", "Loshchilov & Hutter 2017"),
    Entry("WarmUp", "schedule", "7 schedules", "temperance.core.schedule:WarmUp", "Goyal et al. 2017"),
    Entry("Exponential", "schedule", "7 schedules", "temperance.core.schedule:Exponential"),
    Entry("UntilEnd", "schedule", "7 schedules", "temperance.core.schedule:UntilEnd", "Ge et al. 2021"),
    Entry("StepDecay", "schedule", "7 schedules", "temperance.core.schedule:StepDecay", "He et al. 2016"),
    Entry("InverseTime", "schedule", "7 schedules", "temperance.core.schedule:InverseTime", "Robbins & Monro 1951"),
    Entry("MLP", "network", "4 networks", "temperance.nets:MLP", "Rumelhart, Hinton & Williams 1986"),
    Entry("NeighborNet", "network", "4 networks", "temperance.nets:NeighborNet", "Goldberger et al. 2004; Ye et al. 2025"),
    Entry("TabularNet", "network", "4 networks", "temperance.nets:TabularNet", "Gorishniy et al. 2021, 2022"),
    Entry("ConvNet", "network", "4 tying and sharing", "temperance.nets:ConvNet", "LeCun et al. 1998"),
    Entry("ResidualNet", "network", "4 skips", "temperance.nets:ResidualNet", "He et al. 2016; Gorishniy et al. 2021"),
    Entry("ResNet", "network", "4 skips", "temperance.nets:ResNet", "He et al. 2016; Zagoruyko & Komodakis 2016"),
    Entry("RecurrentNet", "network", "4 tying and sharing", "temperance.nets:RecurrentNet", "Hochreiter & Schmidhuber 1997; Cho et al. 2014"),
    Entry("LadderNet", "network", "3 semi-supervised", "temperance.nets:LadderNet", "Rasmus et al. 2015"),
    Entry("Autoencoder", "network", "4 pre-training", "temperance.nets:Autoencoder", "Vincent et al. 2010; Rifai et al. 2011"),
    Entry("TangentDistanceNeighbors", "network", "3 tangent methods", "temperance.estimators:TangentDistanceNeighbors", "Simard, LeCun & Denker 1993"),
    Entry("MultiHead", "network", "4 multi-task", "temperance.nets:MultiHead", "Caruana 1997"),
    Entry("TemperanceMultiTask", "network", "4 multi-task", "temperance.estimators:TemperanceMultiTask", "Caruana 1997"),
    Entry("TwoHeads", "network", "4 multi-task", "temperance.nets:TwoHeads", "Caruana 1997"),
    Entry("Average", "network", "5 seeds", "temperance.nets.average:Average", "Hansen & Salamon 1990"),
    Entry("BatchEnsemble", "network", "5 shared weights", "temperance.nets:BatchEnsemble", "Wen, Tran & Ba 2020"),
    Entry("TabM", "network", "5 shared weights", "temperance.nets:TabM", "Gorishniy, Kotelnikov & Babenko 2025"),
    Entry("initialize", "network", "4 initialization", "temperance.nets:initialize", "Glorot & Bengio 2010; He et al. 2015; Saxe et al. 2014; Martens 2010"),
    Entry(
        "BatchNorm",
        "network",
        "4 batch norm",
        module="temperance.nets.mlp",
        reference="Ioffe & Szegedy 2015",
        text="""Normalizes every hidden unit by its mean and variance over the minibatch, then scales and shifts it by learned numbers.

What: a choice of the network, not a regularizer with a strength: off means that the layer is not there.

When: deep networks and large learning rates. Its noise over minibatches regularizes a little by itself.

Composes: with averages of the weights (EMA, SWA) its statistics are estimated again before any score.

Usage: ``norm="batch"`` of MLP, TabularNet, ConvNet and ResNet.

Reference: Ioffe & Szegedy (2015), Batch normalization: Accelerating deep network training by reducing internal covariate shift.
""",
    ),
    Entry(
        "LayerNorm",
        "network",
        "4 layer norm",
        module="temperance.nets.mlp",
        reference="Ba, Kiros & Hinton 2016",
        text="""Normalizes the hidden units of every row by their own mean and variance, then scales and shifts them by learned numbers.

What: a choice of the network, as BatchNorm is, but without statistics over rows: training and evaluation compute the same.

When: small batches, recurrent networks, and wherever a row must not depend on its neighbors.

Usage: ``norm="layer"`` of MLP and TabularNet.

Reference: Ba, Kiros & Hinton (2016), Layer normalization.
""",
    ),
    Entry("robustness", "diagnosis", "3 adversarial", "temperance.diagnose.robustness:robustness", "Carlini & Wagner 2017; Athalye, Carlini & Wagner 2018"),
    Entry("numbers", "diagnosis", "7 diagnosis", "temperance.diagnose.numbers:numbers", "Goodfellow, Bengio & Courville 2016"),
    Entry("step", "diagnosis", "7 diagnosis", "temperance.diagnose.step:step", "Goodfellow, Bengio & Courville 2016"),
    Entry("oscillation", "diagnosis", "7 diagnosis", "temperance.diagnose.oscillation:oscillation", "Goodfellow, Bengio & Courville 2016"),
    Entry("curvature", "diagnosis", "7 diagnosis", "temperance.diagnose.curvature:curvature", "Ghorbani, Krishnan & Xiao 2019; MacKay 1992"),
    Entry("landscape", "diagnosis", "7 diagnosis", "temperance.diagnose.landscape:landscape", "Dauphin et al. 2014; Pascanu, Mikolov & Bengio 2013"),
    Entry("conditioning", "diagnosis", "7 diagnosis", "temperance.diagnose.conditioning:conditioning", "LeCun et al. 1998"),
    Entry("gradients", "diagnosis", "7 diagnosis", "temperance.diagnose.gradients:gradients", "Bengio, Simard & Frasconi 1994"),
    Entry("noise_scale", "diagnosis", "7 diagnosis", "temperance.diagnose.noise_scale:noise_scale", "McCandlish, Kaplan & Amodei 2018"),
    Entry("units", "diagnosis", "7 diagnosis", "temperance.diagnose.units:units", "Maas, Hannun & Ng 2013; Glorot & Bengio 2010"),
    Entry("gap", "diagnosis", "7 diagnosis", "temperance.diagnose.gap:gap", "Goodfellow, Bengio & Courville 2016"),
    Entry("labels", "diagnosis", "7 diagnosis", "temperance.diagnose.labels:labels", "Wilson 1972; Zhang et al. 2017; Arpit et al. 2017"),
    Entry("calibration", "diagnosis", "7 diagnosis", "temperance.diagnose.calibration:calibration", "Guo et al. 2017"),
    Entry("fragility", "diagnosis", "3 adversarial", "temperance.diagnose.fragility:fragility", "Goodfellow, Shlens & Szegedy 2015; Madry et al. 2018"),
    Entry("pathways", "diagnosis", "2 co-adaptation", "temperance.diagnose.pathways:pathways", "Hinton et al. 2012; Srivastava et al. 2014"),
    Entry("sparsity", "diagnosis", "7 diagnosis", "temperance.diagnose.sparsity:sparsity", "Tibshirani 1996"),
    Entry("strengths", "diagnosis", "7 diagnosis", "temperance.diagnose.strengths:strengths", "Lorraine, Vicol & Duvenaud 2020"),
    Entry("SoftmaxCrossEntropy", "loss", "4 losses", "temperance.core.criterion:SoftmaxCrossEntropy"),
    Entry("SigmoidCrossEntropy", "loss", "4 losses", "temperance.core.criterion:SigmoidCrossEntropy"),
    Entry("FocalLoss", "loss", "4 losses", "temperance.core.class_losses:FocalLoss", "Lin et al. 2017"),
    Entry("BinaryCrossEntropy", "loss", "4 losses", "temperance.core.class_losses:BinaryCrossEntropy", "Beyer et al. 2020; Wightman, Touvron & Jégou 2021"),
    Entry("SquaredError", "loss", "4 losses", "temperance.core.criterion:SquaredError"),
    Entry("Heads", "loss", "4 multi-task", "temperance.core.criterion:Heads", "Caruana 1997"),
)
