"""From an image and a model file to an answer on the image's own grid."""

from catenary.predict.card import Card, load_card, load_weights, save_model
from catenary.predict.files import PredictionRecord, predict_files
from catenary.predict.prediction import Prediction
from catenary.predict.predictor import Predictor, open_predictor

__all__ = [
    "Card",
    "Prediction",
    "PredictionRecord",
    "Predictor",
    "load_card",
    "load_weights",
    "open_predictor",
    "predict_files",
    "save_model",
]
