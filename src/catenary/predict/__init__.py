"""From an image and a model file to an answer on the image's own grid."""
from catenary.predict.card import Card, save_model
from catenary.predict.predictor import Prediction, Predictor, open_predictor, predict_files
