"""What the lectures say, line by line: the experiment or the card for each statement, or why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from temperance.lab.experiment import LEGENSTEIN, PATHAK, SCHONHUTH, WHITEHILL_14, WHITEHILL_22


@dataclass(frozen=True)
class Statement:
    """One statement.

    Attributes:
        text: in the project's words.
        experiments: names of experiments of the lab.
        cards: names of entries of the catalogue.
        reason: why there is neither.
    """

    text: str
    experiments: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    reason: str = ""


# A line: the statement | experiments | cards, or: the statement | | | why there is neither.
_TEXT: Mapping[str, str] = {
    WHITEHILL_22: """
Regularization is any means to generalize better. | | | a definition, or the frame of what follows
Networks are powerful and prone to over-fitting. | wrong_labels |
L2: the squared Frobenius norm of each weight matrix is added to the cross-entropy. | slip_half_of_half l2_eigen_directions | L2
L2 adds the weights to the gradient. | weight_decay_and_l2 | L2
L1 makes entries exactly zero. | l1_soft_threshold spike_and_bell | L1
L1 adds the signs of the weights to the gradient. | l1_soft_threshold | L1
Both can be combined, with strengths of its own for each matrix. | elastic_net | ElasticNet per_layer
All strengths are chosen on validation rows, not on test rows. | u_curve | validation_curve
Dropout removes random inputs and hidden units, no outputs, again in each step. | dropout_by_hand one_mask_a_batch | Dropout
It helps to reach a better minimum and prevents over-fitting. | dropout_and_width | Dropout
The example: x = [0, 1, 2] gives [60, 132]. | dropout_by_hand | Dropout
Only the weights of units that were kept are adjusted. | slip_dropped_weights dropout_by_hand | Dropout
Units with equal weights move in lockstep; random starts and dropout break the symmetry. | symmetry slip_lockstep | initialize
Dropout approximates an ensemble of many smaller networks. | dropout_ensemble weight_scaling | Dropout monte_carlo
Its members share their weights. | dropout_ensemble | Dropout
More training data, less over-fitting. | learning_curve | learning_curve
Augmentation is a change that leaves the label as it is. | flips_that_hurt rotation_skew_elastic | Affine
Noise on the inputs, Gaussian or Laplace. | input_noise_is_ridge | InputNoise
Flips, rotations, translations. | rotation_skew_elastic flips_that_hurt translation | Affine
Translation: 98.07 % becomes 98.44 %, and the filters have clearer contours. | translation | Affine RandomCrop
Multi-task learning. | multi_task | MultiHead TemperanceMultiTask
""",
    WHITEHILL_14: """
For linear regression Gaussian noise of variance α on the inputs adds α wᵀw. | input_noise_is_ridge | InputNoise L2
The noise is independent of x. | slip_dependent_noise | InputNoise
Non-linear networks: no longer equal, at times alike. | noise_on_a_network | InputNoise
Tied weights: the same filter everywhere, the same weights at every time. | convolution_is_tied gradients_through_time | Tying
Pre-training helps where rows are few. | pre_training | pretrain
An average of predictors with unlike errors is better than one. | ensemble_error vote_or_mean | combine
Its squared error is v/n + (n − 1)c/n; a factor of n for c = 0, nothing for c = v. | ensemble_error | combine
The members are unbiased. | ensemble_error | combine
Dropout in forward and backward passes. | dropout_by_hand | Dropout
It prevents over-fitting. | dropout_is_adaptive_l2 dropout_and_width | Dropout
Equal rows of the first matrix give equal hidden units. | symmetry | initialize
Pathways adapt to each other; W = [[2, −3, 1, −1], [2, −3, −1, 1]]. | co_adaptation | Dropout
The last two columns stay locked at a local minimum. | slip_locked_columns |
With dropout each pathway must stand on its own. | co_adaptation | pathways
Dropout as an ensemble whose members share weights. | dropout_ensemble weight_scaling | Dropout
""",
    PATHAK: """
Over-fitting: good in training, worse on new data. | wrong_labels | gap
Regularization penalizes weights and lowers complexity. | almost_linear | L2
A very high coefficient leaves near-zero matrices, a simple linear network and under-fitting. | almost_linear u_curve | L2
L2, ridge, Tikhonov, weight decay. | weight_decay_and_l2 | L2 WeightDecay
The loss is α/2 times the norm that already has a half. | slip_half_of_half | L2
One update with L2: w becomes (1 − εα)w − εg. | weight_decay_and_l2 | L2
L1: the sum of absolute values, the gradient has α sign(w). | l1_soft_threshold | L1
L2 makes weights small, L1 makes them zero. | spike_and_bell | L1 L2
α too high under-fits, too low over-fits. | u_curve | validation_curve
Dropout is an ensemble technique. | dropout_ensemble | Dropout
Its rate is a strength to choose; on hidden layers and inputs. | dropout_by_hand | Dropout
Prefer dropout for large networks. | dropout_and_width | Dropout
Rotating, flipping, scaling, shifting images. | rotation_skew_elastic translation flips_that_hurt | Affine
Augmentation is a mandatory trick. | flips_that_hurt | Affine
Early stopping, patience 5 (Keras). | keras_patience | EarlyStopping
Multi-task learning: lower layers shared, upper ones of each task. | multi_task | MultiHead
Norm penalties limit capacity; α = 0 is no regularization. | u_curve max_norm_ball | L2 MaxNorm
Under-constrained problems. | pseudo_inverse separable_classes | least_squares
Noise on hidden units can do more than shrinking weights. | hidden_noise | HiddenNoise
Noise on the weights of recurrent networks. | recurrent_weight_noise | WeightNoise
Noise on the targets. | label_smoothing | LabelNoise LabelSmoothing
Parameter tying and sharing. | convolution_is_tied | Tying SoftSharing
Sparse representations. | sparse_codes | ActivationSparsity
Bagging: models on resamples vote. | vote_or_mean bootstrap_share | bagging combine
The detector of eights from 9, 6, 8. | bagging_eights | bagging
Adversarial training shows what a large function family with strong regularization can do. | adversarial_training panda | FGSM PGD
Tangent distance, tangent prop, manifold tangent classifier. | tangent_prop | TangentProp TangentDistanceNeighbors manifold_tangents
A step is bad where ½ε²gᵀHg > εgᵀg; f = 30x² at .033, .034, .035. | quadratic_steps slip_borderline | step
Signs of ill-conditioning: a loss that does not fall, NaN. | quadratic_steps | oscillation numbers
Remedies: annealing, adaptive rates, standardized inputs. | ill_conditioning optimizers_on_a_bowl | conditioning
Convex functions with a flat region. | pseudo_inverse | landscape
Many equivalent minima: n!ᵐ orders, α and 1/α. | weight_space_symmetries |
Saddles: eigenvalues of both signs; rare minima in high dimensions. | saddles random_hessians real_saddle | landscape
Plateaus. | real_saddle saddles | landscape
Cliffs: a step leaves far off. | cliffs | GradClip GradClipValue
Long-term dependencies: the same matrix many times. | gradients_through_time | gradients
Inexact gradients. | minibatch_error | curvature
Surrogate losses. | log_loss_surrogate | SoftmaxCrossEntropy
SGD, momentum, Nesterov. | optimizers_on_a_bowl | SGD
Initialization. | symmetry real_saddle | initialize
AdaGrad, RMSProp, Adam, delta-bar-delta. | optimizers_on_a_bowl | AdaGrad RMSProp Adam DeltaBarDelta
RMSProp with Nesterov divides by √r. | slip_rmsprop_delta | RMSProp
Adam's δ stands under the root. | adam_delta | Adam
Batch normalization. | batch_norm_scale | BatchNorm
Coordinate descent. | | BlockDescent
""",
    SCHONHUTH: """
The gradient is the direction of steepest decline; w becomes w + η∇C. | slip_ascent | SGD
A network is a composition of layers; its loss has no closed form. | | | a definition, or the frame of what follows
BP1 to BP4. | back_propagation |
(10): δ = ∂C/∂a ⊙ σ'(z) for any activation. | slip_softmax_output | SoftmaxCrossEntropy
Updates vanish where the output is saturated. | saturated_output | SigmoidCrossEntropy
Updates are large where the output is not one. | slip_activation_not_one |
Changes are small where the input is small. | back_propagation |
λ/2m ‖w‖² with the cross-entropy; biases are left alone. | lam_over_n | L2
Decay: the factor 1 − ηλ/m in each step. | weight_decay_and_l2 lam_over_n | WeightDecay
Near a minimum the loss is its second-order expansion. | slip_taylor_half l2_eigen_directions | curvature
The minimizer is (H + λI)⁻¹Hw*; a direction is left D/(D + λ) of it. | l2_eigen_directions | L2
λ → 0 gives w*. | slip_limit_of_zero pseudo_inverse | least_squares
L1: the sign, λ/m. | l1_soft_threshold | L1
L1 sets directions of small curvature to zero. | slip_l1_directions | L1
L1 shrinks by a constant, L2 in proportion. | l1_soft_threshold spike_and_bell | L1 L2
Dropout deletes half of the hidden units for each minibatch. | one_mask_a_batch | Dropout
All weights are updated; they are halved after each epoch. | slip_dropped_weights slip_dropout_halving | Dropout
Dropout projects to coordinate subspaces, and averages. | one_mask_a_batch weight_scaling | Dropout
Stop near an optimum, not at it. | early_stopping_is_l2 | EarlyStopping
More data improves test accuracy; network against SVM. | learning_curve | learning_curve
A 5 turned by 15 degrees is a new training image; skew, elastic distortions. | rotation_skew_elastic | Affine Elastic
""",
    LEGENSTEIN: """
Regularization lowers the generalization error, not the training error. | | | a definition, or the frame of what follows
Weights are penalized, biases are not; λ may differ by layer. | elastic_net | L2 per_layer
L2 leads to weight decay. | weight_decay_and_l2 | L2 WeightDecay
L2 is MAP inference with a Gaussian prior, L1 with a Laplacian one. | map_priors | L2 L1
Lasso is a linear model with squared error and L1. | l1_soft_threshold | least_squares
Under L1 more weights are zero, and the others are larger. | spike_and_bell | L1
Early stopping keeps the best weights. | keras_patience | EarlyStopping
Then train again on all rows, for as many epochs. | retraining | same_epochs same_steps until_train_loss
Weights and complexity grow with training; stopping keeps them small. | growth early_stopping_is_l2 | EarlyStopping
Dropout: each unit with probability 1 − p in each minibatch. | one_mask_a_batch dropout_by_hand | Dropout
Units cannot rely on each other. | co_adaptation | Dropout
The final weights are multiplied by p. | weight_scaling dropout_ensemble | Dropout
Deformed copies of training images: flip, stretch, rotate and crop, colors, blur. | rotation_skew_elastic flips_that_hurt | Affine RandomCrop ColorJitter Blur
A small change along the sign of the gradient makes a panda a gibbon. | panda fgsm_linear | FGSM
Train on attacked rows too. | adversarial_training | FGSM PGD
Label smoothing for labels that may be wrong: {ε/(k − 1), 1 − ε}. | label_smoothing | LabelSmoothing
Rows without labels give a good representation. | semi_supervised | VAT PseudoLabels
Auxiliary tasks. | multi_task | MultiHead
Parameter sharing. | convolution_is_tied | Tying
""",
}


def statements() -> Iterator[tuple[str, Statement]]:
    """Every statement with its lecture, in the lecture's order."""
    for lecture, text in _TEXT.items():
        for line in text.strip().splitlines():
            words, experiments, cards, *reason = [*(part.strip() for part in line.split("|")), ""]
            yield lecture, Statement(words, tuple(experiments.split()), tuple(cards.split()), reason[0])
