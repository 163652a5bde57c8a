"""The main job: from a file with a target column to a folder with a model and a report."""

from temperance.job.explain import explain_fit
from temperance.job.fit import Job, finish_fit, fit_table
from temperance.job.opening import load, predict_table
from temperance.job.replay import replay_trial
from temperance.job.saved import Saved, save_model

__all__ = ["Job", "Saved", "explain_fit", "finish_fit", "fit_table", "load", "predict_table", "replay_trial", "save_model"]
