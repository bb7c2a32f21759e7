"""Tables and corpora in, tokens and labels out."""
