"""Teacher and data in, small student out: TinyBERT's two-stage distillation.

Kept light on purpose: importing `compress` loads neither torch nor transformers.
"""
