"""TinyBERT's two-stage distillation of a teacher into a small student.

Importing `compress` loads neither torch nor transformers.
"""
