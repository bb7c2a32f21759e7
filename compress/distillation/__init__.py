"""TinyBERT's layer-wise and prediction-layer distillation: objectives, initialisation and the training loop."""
