"""The server: the Open Inference Protocol and text-embeddings-inference's /predict, in front of bundles."""
