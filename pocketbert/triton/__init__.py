"""`pocketbert triton`: a model repository for Triton Inference Server, with its image and its Kubernetes service."""
