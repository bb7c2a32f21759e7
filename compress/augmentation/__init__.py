"""Data augmentation, TinyBERT's Algorithm 1: words of a text replaced by what a masked language model or word vectors
would put in their place.

Jiao et al. 2020, TinyBERT: Distilling BERT for Natural Language Understanding, section 3.2 and Algorithm 1.
"""
