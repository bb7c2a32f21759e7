"""Data augmentation: replaces words of a text with candidates from a masked language model or from word vectors.

Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding, section 3.2 and Algorithm 1.
"""
