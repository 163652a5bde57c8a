"""Estimators with scikit-learn's conventions: a cocktail is searched or given, ``model_`` is a plain network.

>>> from sklearn.datasets import load_wine
>>> X, y = load_wine(return_X_y=True)
>>> classifier = TemperanceClassifier(trials=2, steps=20, random_state=0).fit(X, y)
>>> classifier.score(X, y) > 0.9, classifier.predict_proba(X[:3]).shape
(True, (3, 3))
"""

from temperance.estimators.classifier import TemperanceClassifier
from temperance.estimators.multitask import TemperanceMultiTask
from temperance.estimators.regressor import TemperanceRegressor
from temperance.estimators.report import Report
from temperance.estimators.tangent_neighbors import TangentDistanceNeighbors, tangent_distance

__all__ = ["Report", "TangentDistanceNeighbors", "TemperanceClassifier", "TemperanceMultiTask", "TemperanceRegressor", "tangent_distance"]
