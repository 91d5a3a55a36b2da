"""From an image and a model file to an answer on the image's own grid."""
