"""The catalogue's border: methods that were looked at and are not in it, with the reason and what comes nearest."""

from __future__ import annotations

BORDER: tuple[tuple[str, str, str], ...] = (
    (
        "Area under the margin (AUM)",
        "Pleiss et al. 2020",
        "trains networks of its own, with a class of made-up labels. On three tables of 569 to 1,000 rows (digits, breast cancer, a made one) "
        "with 2, 10 and 20 % wrong labels, two seeds, its threshold found .98 of them with a precision of .38 at the best of six trainings; "
        "the neighbors of `labels` .80 with .76. What both name had .80 with .80",
    ),
    (
        "AutoAugment, Fast AutoAugment",
        "Cubuk et al. 2019; Lim et al. 2019",
        "learned policies of other data sets; RandAugment with one searched strength replaced them",
    ),
    ("DropBlock", "Ghiasi, Lin & Le 2018", 'for large feature maps of detectors; `Dropout(mask="channel")` drops whole maps, CutOut blocks of the input'),
    (
        "Equalize (of RandAugment)",
        "Cubuk et al. 2020",
        "a histogram for each image, which does not batch over a population; the twelve other changes are there",
    ),
    (
        "Fixup, SkipInit",
        "Zhang, Dauphin & Ma 2019; De & Smith 2020",
        "ways to start without BatchNorm, not regularizers; see `tp.nets.initialize` and `GradClip(ratio=...)`",
    ),
    (
        "Heavy-tailed spectra of weights",
        "Martin & Mahoney 2021",
        "as a check of `diagnose`: over 10 or 12 networks each of three tables and three reasons to differ (weight decay, rate and batch size, "
        "wrong labels) Kendall's rank correlation of the exponent with the test accuracy was from -.69 to .76, of either sign for each reason; "
        "that of the squared norm of the weights from -.96 to .35",
    ),
    ("GSAM, ASAM", "Zhuang et al. 2022; Kwon et al. 2021", "variants of SAM with one more number; in no major recipe"),
    ("Jacobian and gradient penalties", "Drucker & Le Cun 1992; Hoffman et al. 2019", "TangentProp along random or given directions; VAT along the worst one"),
    ("LAWA", "Kaddour 2022", "the mean of the latest checkpoints: SWA with a late start, or EMA"),
    ("LogitNorm", "Wei et al. 2022", "against overconfidence: LabelSmoothing, ConfidencePenalty, and the temperature in every report"),
    ("Manifold MixUp", "Verma et al. 2019", "in no major recipe; it is the worked example of a regularizer with two sites in CONTRIBUTING.md"),
    (
        "PuzzleMix, SaliencyMix",
        "Kim, Choo & Song 2020; Uddin et al. 2021",
        "one more backward pass for every step, and a cut of a graph for every pair; CutMix is the recipes' choice",
    ),
    ("R-Drop", "Wu et al. 2021", "two passes with other masks that agree: PiModel, with squared differences in place of a divergence"),
    (
        "Sophia, Lion, Shampoo",
        "Liu et al. 2024; Chen et al. 2023; Gupta, Koren & Singer 2018",
        "optimizers for very large models; `attach` takes any optimizer of your own loop",
    ),
    ("SWAG", "Maddox et al. 2019", "draws of weights around SWA; several networks of the search, or snapshots, are averaged instead"),
    ("Weight standardization", "Qiao et al. 2019", "for networks with GroupNorm and minibatches of one or two images"),
    (
        "Zoneout, variational RNN dropout",
        "Krueger et al. 2017; Gal & Ghahramani 2016",
        "`Dropout(share_calls=True)` is the latter; the former is in no major recipe of today",
    ),
)
